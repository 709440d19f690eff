"""Vision backbones: real model code with tiny random weights in a folder, read as transformers reads it."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from funneltune.backbones import NoVision, Vision
from funneltune.errors import ConfigError

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 16,
    "patch_size": 8,
}
WORDS = {k: v for k, v in SMALL.items() if "_size" not in k or k == "hidden_size"} | {
    "vocab_size": 30,
    "intermediate_size": 24,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
RANDOM = {"pretrained": False, "architecture": {"model_type": "vit", **SMALL}}


def model_of(kind):
    torch.manual_seed(0)
    if kind == "vit":
        return ViTModel(ViTConfig(**SMALL))
    if kind == "dinov2":
        return Dinov2Model(Dinov2Config(**SMALL))
    if kind == "clip":
        return CLIPModel(CLIPConfig(text_config=WORDS, vision_config=SMALL, projection_dim=8))
    return SiglipModel(SiglipConfig(text_config=WORDS, vision_config=SMALL))


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Folders of each kind: weights, config, preprocessor."""
    found = {}
    for kind in ("vit", "dinov2", "clip", "siglip"):
        found[kind] = tmp_path_factory.mktemp(kind)
        model_of(kind).save_pretrained(found[kind])
        size = {"height": 16, "width": 16}
        reader = (
            CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size)
            if kind == "clip"
            else ViTImageProcessorPil(size=size)
        )
        reader.save_pretrained(found[kind])
    return found


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((16, 16), (20, 31), (40, 16), (9, 9))]


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [("vit", "cls"), ("vit", "mean"), ("vit", "pooler"), ("dinov2", "cls"), ("clip", "pooler"), ("siglip", "pooler")],
)
def test_a_vector_is_the_models_own_of_the_picture_as_its_preprocessor_reads_it(homes, pictures, kind, pooling):
    found = Vision(str(homes[kind]), pooling=pooling, batch=3).encode(pictures)
    model = AutoModel.from_pretrained(homes[kind]).eval()
    model = getattr(model, "vision_model", model)
    reader = CLIPImageProcessorPil if kind == "clip" else ViTImageProcessorPil
    for picture, vector in zip(pictures, found, strict=True):
        pixels = reader.from_pretrained(homes[kind])([picture], return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            out = model(pixel_values=pixels)
        states = out.last_hidden_state[0]
        wanted = {"cls": states[0], "mean": states.mean(0), "pooler": out.pooler_output[0]}[pooling]
        np.testing.assert_allclose(vector, wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_a_vit_resizes_and_normalises_by_hand(homes):
    """Pixels of a picture at the model's size become (x / 255 - 0.5) / 0.5."""
    picture = np.full((16, 16, 3), 51, dtype=np.uint8)
    model = ViTModel.from_pretrained(homes["vit"]).eval()
    with torch.no_grad():
        wanted = model(pixel_values=torch.full((1, 3, 16, 16), 51 / 255 * 2 - 1)).last_hidden_state[0, 0]
    np.testing.assert_allclose(Vision(str(homes["vit"])).encode([picture])[0], wanted.numpy(), atol=1e-5)


def test_the_key_tells_weights_reading_and_pooling_apart(homes, tmp_path):
    one = Vision(str(homes["vit"]))
    assert one.key() == Vision(str(homes["vit"]), batch=2, images=["photo"]).key()
    assert len({one.key(), Vision(str(homes["vit"]), pooling="mean").key(), Vision(str(homes["dinov2"])).key()}) == 3
    model = model_of("vit")
    next(iter(model.parameters())).data += 1.0
    model.save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    assert Vision(str(tmp_path)).key() != one.key()
    drawn = [Vision("tiny", **RANDOM, seed=seed).key() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_random_weights_leave_the_runs_own_draws_alone():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    Vision("tiny", **RANDOM, seed=99).key()
    assert torch.equal(torch.rand(2), wanted)


def test_pickled_weights_are_refused(tmp_path):
    model = model_of("vit")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="vision.name=.*has no weights here") as told:
        Vision(str(tmp_path)).key()
    assert "\n" not in str(told.value)


def test_damaged_weights_are_refused(homes, tmp_path):
    for file in homes["vit"].iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[:200] if file.suffix == ".safetensors" else content)
    with pytest.raises(ConfigError, match="vision.name=.*has no weights here"):
        Vision(str(tmp_path)).key()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "timm_wrapper"}, "vision.name=.*config.json: model_type='timm_wrapper' is refused"),
        ({"model_type": "own", "auto_map": {"AutoModel": "a.B"}}, "auto_map asks for code of its own for 'own'"),
        ({"attn_implementation": "someone/kernel"}, "attn_implementation='someone/kernel' may fetch code"),
    ],
)
def test_homes_that_ask_for_code_are_refused(homes, tmp_path, fields, message):
    told = json.loads((homes["vit"] / "config.json").read_text()) | fields
    (tmp_path / "config.json").write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=message):
        Vision(str(tmp_path)).key()


def test_a_preprocessor_with_code_of_its_own_is_never_run(homes, tmp_path):
    model_of("vit").save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "Mine", "auto_map": {"AutoImageProcessor": "mine.Mine"}})
    )
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ConfigError, match="has no weights here"):
        Vision(str(tmp_path)).key()
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_missing_are_refused_where_they_are_read(tmp_path):
    torch.manual_seed(0)
    ViTForImageClassification(ViTConfig(**SMALL)).save_pretrained(tmp_path)  # has no pooler
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    assert Vision(str(tmp_path)).key()
    with pytest.raises(ConfigError, match="lacks the weight 'pooler.dense.bias', which would be random.*pooling=cls"):
        Vision(str(tmp_path), pooling="pooler").key()


def test_a_model_of_words_is_refused(tmp_path):
    BertModel(
        BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    ).save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="reads no pictures; choose a ViT"):
        Vision(str(tmp_path)).key()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "https://x.org/vit"}, "vision.name='https://x.org/vit' is a URL"),
        ({"pooling": "max"}, "vision.pooling='max' must be pooler, cls, mean"),
        ({"batch": 0}, "vision.batch=0 must be >= 1"),
        ({"pretrained": False}, "must name model_type"),
        ({"pretrained": False, "architecture": {"model_type": "timm_wrapper"}}, "is refused"),
    ],
)
def test_words_that_nothing_knows_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Vision(**{"name": "tiny"} | arguments)


@pytest.mark.parametrize(
    "architecture",
    [{"model_type": "nothing"}, {"model_type": "bert"}, {"model_type": "vit", "hidden_size": "wide"}],
)
def test_an_architecture_that_is_no_vision_model_is_refused(architecture):
    with pytest.raises(ConfigError, match="vision.architecture makes no vision model"):
        Vision("tiny", pretrained=False, architecture=architecture).key()


def test_pretrained_weights_fix_the_architecture(homes):
    with pytest.raises(ConfigError, match="vision.architecture has hidden_size, and pretrained weights fix it"):
        Vision(str(homes["vit"]), architecture={"hidden_size": 8}).key()


def test_no_vision_reads_nothing():
    assert NoVision(images=["photo"]).images == ()
