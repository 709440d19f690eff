"""Fixed vectors and the rest of a row: side by side as ever, gated, attended; what is missing weighs nothing."""

import math

import pytest
import torch
from torch import nn

from funneltune.errors import ConfigError
from funneltune.features import AttentionFusion, Features, GatedFusion, Modalities
from funneltune.features.fusion import masked_softmax
from funneltune.schema import FeatureNeeds

NEEDS = FeatureNeeds(vectors=("image",), numbers=("price",))


@pytest.fixture(scope="module")
def log(make_data):
    return make_data(features=NEEDS)


def built(log, fusion="concat", width=6, **more):
    torch.manual_seed(1)
    arguments = {"vectors": ["image"], "numbers": {"price": "log"}, "vector_width": width, "fusion": fusion} | more
    return Features(8, log.vector_widths(), **arguments)


def rows(log, n=12):
    batch = log.collator().rows(torch.arange(n).numpy())
    torch.manual_seed(2)
    return batch, torch.randn(len(batch.texts), 8)


def test_side_by_side_is_one_projection_of_the_vectors_as_it_always_was(log):
    batch, texts = rows(log)
    features = built(log)
    assert isinstance(features.vectors, nn.Sequential)
    assert features.fusion is None
    layer_norm, linear, _ = features.vectors
    by_hand = torch.relu(linear(layer_norm(batch.vectors)))
    assert torch.equal(features(batch, texts)[:, -6:], by_hand)
    assert list(features.vectors.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert torch.equal(features(batch, texts), built(log, texts=2)(batch, texts))


@pytest.mark.parametrize("fusion", ["gate", "attention"])
def test_a_fusion_has_the_width_it_says_and_every_weight_of_it_learns(log, fusion):
    batch, texts = rows(log, 40)
    features = built(log, fusion, texts=2)
    out = features(batch, texts)
    assert out.shape == (40, features.width)
    out.pow(2).sum().backward()
    still = [name for name, p in features.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert still == [] or still == ["fusion.key.bias"]  # a bias of all keys moves no softmax


def test_a_gate_of_two_modalities_is_the_papers_equation():
    """Arevalo et al. 2017, eq. 1-5: h_v, h_t, z = sigmoid(W_z [x_v, x_t]), h = z h_v + (1 - z) h_t."""
    torch.manual_seed(0)
    gate = GatedFusion(5, 1, 4)
    context, picture = torch.randn(3, 5), torch.randn(3, 4)
    out = gate(context, picture, torch.ones(3, 1, dtype=torch.bool))
    x_text = gate.context(context)
    h_text, h_picture = torch.tanh(x_text @ gate.values[0]), torch.tanh(picture @ gate.values[1])
    scores = gate.gates(torch.cat([x_text, picture], dim=1))
    z = torch.sigmoid(scores[:, 4:] - scores[:, :4])  # a softmax of two is a sigmoid of their difference
    torch.testing.assert_close(out, z * h_picture + (1 - z) * h_text)


def test_attention_is_a_softmax_of_scaled_products_by_hand():
    torch.manual_seed(0)
    attention = AttentionFusion(5, 2, 4)
    context, pictures = torch.randn(1, 5), torch.randn(1, 8)
    out = attention(context, pictures, torch.ones(1, 2, dtype=torch.bool))[0]
    attention.requires_grad_(False)
    tokens = [attention.context(context)[0], pictures[0, :4], pictures[0, 4:]]
    query = attention.query(tokens[0])
    products = [math.exp(float(query @ attention.key(token)) / 2.0) for token in tokens]
    wanted = sum(p / sum(products) * attention.value(token) for p, token in zip(products, tokens, strict=True))
    torch.testing.assert_close(out, wanted)


@pytest.mark.parametrize("kind", [GatedFusion, AttentionFusion])
def test_a_missing_picture_weighs_nothing_and_the_rest_shares_its_part(kind):
    torch.manual_seed(0)
    fusion = kind(5, 2, 4)
    context, pictures = torch.randn(2, 5), torch.randn(2, 8)
    there = torch.tensor([[True, False], [False, False]])
    tokens, known = fusion.modalities(context, pictures, there)
    weights = fusion.weights(tokens, known)
    assert (weights[~known] == 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones_like(weights.sum(dim=1)))
    moved = pictures.clone()
    moved[0, 4:], moved[1] = 1e3, -1e3
    assert torch.equal(fusion(context, pictures, there), fusion(context, moved, there))
    changed = pictures.clone()
    changed[0, :4] += 1.0
    assert not torch.allclose(fusion(context, pictures, there)[0], fusion(context, changed, there)[0])


@pytest.mark.parametrize("kind", [GatedFusion, AttentionFusion])
def test_where_nothing_is_there_zeros_come_out(kind):
    fusion = kind(0, 1, 4)
    out = fusion(torch.zeros(2, 0), torch.randn(2, 4), torch.tensor([[True], [False]]))
    assert out[0].abs().sum() > 0
    if kind is GatedFusion:
        assert (out[1] == 0).all()
    assert torch.equal(masked_softmax(torch.randn(1, 3), torch.zeros(1, 3, dtype=torch.bool)), torch.zeros(1, 3))


def test_a_vector_of_zeros_is_none():
    two = Modalities([2, 3], 4)
    there = two.there(torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0, 0.0]]))
    assert there.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("fusion", ["gate", "attention"])
def test_without_texts_the_other_features_are_fused_with(make_data, fusion):
    needs = FeatureNeeds(vectors=("image",), numbers=("price",))
    data = make_data(features=needs, interaction="none", texts=None, tokenizer=None)
    batch = data.collator().rows(torch.arange(9).numpy())
    features = Features(
        0, data.vector_widths(), vectors=["image"], numbers={"price": "log"}, vector_width=6, fusion=fusion
    )
    assert features.fusion.context_width == features.numbers.width
    assert features(batch, torch.zeros(0, 0)).shape == (9, features.width)
    alone = Features(0, data.vector_widths(), vectors=["image"], vector_width=6, fusion=fusion)
    assert alone(batch, torch.zeros(0, 0)).shape == (9, 6)


def test_the_row_s_own_texts_decide_what_a_gate_lets_through(log):
    batch, texts = rows(log)
    features = built(log, "gate", texts=2).eval()
    before = features(batch, texts)[:, -6:]
    other = texts.clone()
    other[batch.text_of_row["query"][0]] += 1.0
    after = features(batch, other)[:, -6:]
    same = batch.text_of_row["query"] != batch.text_of_row["query"][0]
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[same], after[same])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusion": "sum"}, "features.fusion='sum' must be one of concat, gate, attention"),
        ({"fusion": "gate", "vectors": []}, "features.fusion=gate fuses vectors or pictures of items, and there are"),
        ({"images": ["image"]}, "name 'image' twice"),
    ],
)
def test_a_fusion_that_cannot_be_is_refused(log, arguments, message):
    with pytest.raises(ConfigError, match=message):
        built(log, **arguments)
