"""A cache gives back what it was given, text by text, to half precision."""

import numpy as np
import pytest
import torch

from funneltune.backbones import Backbone, BoundaryCache, Encoder
from funneltune.errors import ConfigError, RunError
from funneltune.schema import Texts


def texts(numbers, lengths):
    sizes = torch.tensor(lengths)
    return Texts(torch.arange(int(sizes.sum())), sizes, sizes, torch.tensor(numbers))


def test_states_come_back_in_the_order_that_is_asked_for(tmp_path):
    # Texts 2, 5 and 9 of 1, 2 and 3 tokens; the first part has them the other way round.
    first = torch.tensor([[50.0, 0], [51, 0], [20, 0]])
    last = torch.tensor([[90.0, 1], [91, 1], [92, 1]])
    parts = [(texts([5, 2], [2, 1]), first), (texts([9], [3]), last)]
    BoundaryCache.write(tmp_path, parts, pooled=False)
    cache = BoundaryCache.read(tmp_path, 2, pooled=False)
    found = cache.find(texts([9, 2, 5], [3, 1, 2]))
    assert found.dtype == torch.float32
    assert found[:, 0].tolist() == [90, 91, 92, 20, 50, 51]
    assert cache.find(texts([2, 3], [1, 1])) is None
    assert cache.find(texts([2, 10], [1, 1])) is None
    assert cache.find(Texts(torch.arange(1), torch.ones(1).long(), torch.ones(1).long())) is None


def test_states_are_half_precision_and_vectors_single(tmp_path):
    value = torch.tensor([[1 + 2**-12]])
    for pooled in (True, False):
        BoundaryCache.write(tmp_path, [(texts([0], [1]), value)], pooled=pooled)
        kept = BoundaryCache.read(tmp_path, 1, pooled=pooled).find(texts([0], [1]))
        assert (kept == value).item() == pooled
        assert kept.item() == pytest.approx(value.item(), rel=2**-11)


def test_what_does_not_fit_half_precision_is_not_kept(tmp_path):
    with pytest.raises(RunError, match=r"do not fit float16.*backbone.cache=never"):
        BoundaryCache.write(tmp_path, [(texts([0], [1]), torch.tensor([[1e6]]))], pooled=False)


@pytest.mark.parametrize("packed", [True, False])
def test_upper_layers_start_from_kept_states_as_from_computed_ones(make_data, tiny_backbone, tmp_path, packed):
    batch = make_data().collator().rows(np.arange(40))
    encoder = Encoder(tiny_backbone.model(), packed=packed, token_budget=100).eval()
    encoder.boundary = 1
    plain = encoder(batch.texts)
    BoundaryCache.write(tmp_path, [(batch.texts, encoder.below(batch.texts))], pooled=False)
    encoder.cache = BoundaryCache.read(tmp_path, encoder.width, pooled=False)
    encoder.backbone.embeddings = None  # nothing below is asked any more
    again = encoder(batch.texts)
    torch.testing.assert_close(again, plain, atol=3e-3, rtol=0)
    assert not torch.equal(again, plain)  # they were float16


def test_a_boundary_that_moves_leaves_its_cache_behind(tiny_backbone):
    encoder = Encoder(tiny_backbone.model())
    encoder.cache = object()
    encoder.boundary = 1
    assert encoder.cache is None


def test_weights_below_the_boundary_are_those_of_embeddings_and_lower_layers(tiny_backbone):
    encoder = Encoder(tiny_backbone.model())
    encoder.boundary = 1
    below = encoder.parameters_below()
    above = sum(p.numel() for p in encoder.backbone.encoder.layer[1].parameters())
    assert sum(p.numel() for p in below.values()) == sum(p.numel() for p in encoder.parameters()) - above
    encoder.boundary = 2
    assert len(encoder.parameters_below()) == len(list(encoder.parameters()))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("cache", "on", "backbone.cache='on' must be auto, always, never"), ("cache_gb", -1, "backbone.cache_gb=-1 must")],
)
def test_words_that_a_config_may_not_say(field, value, told):
    with pytest.raises(ConfigError, match=told):
        Backbone(name="x", **{field: value})
