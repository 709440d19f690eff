"""The padded forward that graphs are traced from says what the run's own layouts say."""

import numpy as np
import pytest
import torch

from architectures import TINY, build
from funneltune.backbones import Encoder
from funneltune.decisions.export.plain import PaddedEncoder, scaled
from funneltune.metrics import Isotonic, Platt, Temperature
from funneltune.schema import Texts

DECODERS = ("gpt2", "qwen2", "qwen3", "llama", "mistral")
LENGTHS, FIRST = [1, 3, 6, 6], [1, 2, 6, 4]


def some_texts():
    flat = torch.randint(5, 90, (sum(LENGTHS),))
    return Texts(flat, torch.tensor(LENGTHS), torch.tensor(FIRST))


def padded(texts, inputs, width=0):
    """The same texts as the graphs take them."""
    shape = len(texts), max([*LENGTHS, width])
    found = {name: torch.zeros(shape, dtype=torch.long) for name in inputs}
    for row, part in enumerate(texts.token_ids.split(LENGTHS)):
        found["input_ids"][row, : len(part)] = part
        found["attention_mask"][row, : len(part)] = 1
        if "token_type_ids" in found:
            found["token_type_ids"][row, FIRST[row] : len(part)] = 1
    return list(found.values())


POOLED = [
    (kind, pooling) for kind in TINY for pooling in ("mean", "cls", "last") if pooling != "cls" or kind not in DECODERS
]


@pytest.mark.parametrize(("model_type", "pooling"), POOLED)
@torch.inference_mode()
def test_padded_texts_have_the_vectors_of_the_run(model_type, pooling):
    encoder = Encoder(build(model_type), pooling=pooling).eval()
    plain, texts = PaddedEncoder(encoder).eval(), some_texts()
    wanted = encoder(texts)
    torch.testing.assert_close(plain(*padded(texts, plain.inputs)), wanted, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(plain(*padded(texts, plain.inputs, width=11)), wanted, atol=2e-6, rtol=1e-5)


def test_segments_are_an_input_where_the_backbone_tells_them_apart():
    assert PaddedEncoder(Encoder(build("bert"))).inputs == ["input_ids", "attention_mask", "token_type_ids"]
    assert PaddedEncoder(Encoder(build("gpt2"))).inputs == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    "scaling",
    [
        Temperature(1.7),
        Platt(0.8, -0.4),
        Isotonic((0.1, 0.2, 0.4, 0.7), (0.05, 0.05, 0.3, 0.9)),
        Isotonic((0.3,), (0.25,)),
    ],
)
def test_scalings_in_tensors_are_those_of_the_metrics(scaling):
    p = np.concatenate([[0.0, 1e-9, 0.1, 0.2, 0.7, 1.0], np.random.default_rng(0).random(50)])
    np.testing.assert_allclose(scaled(torch.from_numpy(p), scaling).numpy(), scaling.apply(p), atol=1e-12)
