"""Every architecture, padded or packed, gives what Hugging Face's own forward gives text by text."""

import pytest
import torch
from omegaconf import OmegaConf

from architectures import TINY, build
from funneltune.backbones import Backbone, Encoder
from funneltune.errors import ConfigError
from funneltune.schema import Texts

LENGTHS = [3, 4, 4, 7, 9, 17, 30, 31]


def texts(first=None):
    lengths = torch.tensor(LENGTHS)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 99, (int(lengths.sum()),), generator=generator)
    return Texts(ids, lengths, lengths if first is None else torch.tensor(first))


def alone(model, batch, pooling):
    """Each text by itself: no padding, no mask, no position ids."""
    pooled = []
    pieces = torch.split(batch.token_ids, batch.lengths.tolist())
    for ids, first in zip(pieces, batch.first_lengths.tolist(), strict=True):
        more = {}
        if getattr(model.config, "type_vocab_size", 0) > 1:
            more["token_type_ids"] = (torch.arange(len(ids)) >= first).long()[None]
        states = model(input_ids=ids[None], **more).last_hidden_state[0]
        pooled.append({"mean": states.mean(0), "cls": states[0], "last": states[-1]}[pooling])
    return torch.stack(pooled)


@pytest.mark.parametrize("model_type", TINY)
def test_every_architecture_is_built_from_the_fields_of_a_config(model_type):
    """Lists among them come from OmegaConf; DeBERTa-v2 has no fused attention to ask for."""
    fields = OmegaConf.create({"model_type": model_type} | TINY[model_type])
    model = Backbone("offline", pretrained=False, architecture=fields).model()
    assert model.config.model_type == model_type
    assert model.config._attn_implementation == ("eager" if model_type == "deberta-v2" else "sdpa")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("model_type", TINY)
def test_texts_equal_the_models_own_output(model_type, pooling, packed):
    model = build(model_type)
    batch = texts(first=[2, 4, 3, 7, 5, 9, 30, 12])
    wanted = alone(model, batch, pooling)
    encoder = Encoder(model, pooling=pooling, token_budget=70, packed=packed).eval()
    with torch.no_grad():
        torch.testing.assert_close(encoder(batch), wanted, atol=2e-5, rtol=1e-4)


def test_what_is_packed_is_fewer_rows_and_what_cannot_be_is_padded():
    packed = {model_type for model_type in TINY if Encoder(build(model_type)).packed}
    assert packed == set(TINY) - {"deberta-v2", "modernbert"}
    for model_type in ("gpt2", "deberta-v2"):
        (rows,) = {c.input_ids.shape[0] for c in Encoder(build(model_type)).lower(texts()).chunks}
        assert (rows < len(LENGTHS)) == (model_type in packed)


@pytest.mark.parametrize("model_type", [t for t in TINY if t not in {"bert"}])
def test_packing_gives_the_gradients_of_padding(model_type):
    gradients = []
    model = build(model_type)
    for packed in (True, False):
        model.zero_grad()
        encoder = Encoder(model, pooling="mean", packed=packed).eval()
        encoder(texts()).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, wanted in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], wanted, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("model_type", TINY)
@pytest.mark.parametrize("boundary", [1, 3])
def test_layers_below_the_boundary_see_no_dropout_and_no_gradient(model_type, boundary):
    model = build(model_type)
    encoder = Encoder(model)
    for number, layer in enumerate(model.get_submodule(encoder.family.layers)):
        layer.requires_grad_(number >= boundary)
    encoder.boundary = boundary
    encoder.train()
    modes = [layer.training for layer in model.get_submodule(encoder.family.layers)]
    assert modes == [number >= boundary for number in range(3)]
    vectors = encoder(texts())
    assert vectors.requires_grad == (boundary < 3)


@pytest.mark.parametrize("model_type", ["gpt2", "qwen2"])
def test_a_decoder_is_not_read_at_its_first_token(model_type):
    with pytest.raises(ConfigError, match=r"backbone\.pooling=cls reads the first token.*pooling=last"):
        Encoder(build(model_type), pooling="cls")
