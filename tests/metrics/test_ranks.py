"""Where ranks lie, worked by hand on a model of three layers and two matrices each."""

import math

import numpy as np
import pytest

from funneltune.metrics.ranks import agreement, attention_share, grid, layer_shares, likeness

PATTERN = {
    "encoder.layer.0.attention.self.query": 0,
    "encoder.layer.0.output.dense": 2,
    "encoder.layer.1.attention.self.query": 1,
    "encoder.layer.1.output.dense": 3,
    "encoder.layer.2.attention.self.query": 2,
    "encoder.layer.2.output.dense": 4,
}


def test_a_map_has_a_row_per_module_and_a_column_per_layer():
    modules, layers, ranks = grid(PATTERN)
    assert (modules, layers) == (["query", "feed-forward out"], [0, 1, 2])
    np.testing.assert_array_equal(ranks, [[0, 1, 2], [2, 3, 4]])


def test_matrices_of_decoders_are_placed_too():
    modules, layers, ranks = grid({"h.0.attn.c_attn": 3, "h.1.mlp.c_fc": 1})
    assert (modules, layers) == (["attn.c_attn", "mlp.c_fc"], [0, 1])
    np.testing.assert_array_equal(ranks, [[3, np.nan], [np.nan, 1]])


def test_shares_add_up_to_what_is_kept():
    assert attention_share(PATTERN) == 3 / 12
    assert layer_shares(PATTERN) == pytest.approx([2 / 12, 4 / 12, 6 / 12])
    assert layer_shares(PATTERN, parts=2) == pytest.approx([(2 + 4 / 2) / 12, (4 / 2 + 6) / 12])
    assert math.isnan(attention_share({"layer.0.output.dense": 0}))


def test_maps_agree_as_they_correlate():
    other = {name: 4 - rank for name, rank in PATTERN.items()}
    assert agreement([PATTERN, PATTERN]) == pytest.approx(1)
    assert agreement([PATTERN, other]) == pytest.approx(-1)
    assert agreement([PATTERN, PATTERN, other]) == pytest.approx(-1 / 3)
    assert math.isnan(agreement([PATTERN]))
    assert math.isnan(agreement([PATTERN, dict.fromkeys(PATTERN, 2)]))


def test_two_maps_lie_apart_by_the_matrices_that_both_have():
    other = {name: 4 - rank for name, rank in PATTERN.items()}
    apart = np.mean([abs(4 - 2 * rank) for rank in PATTERN.values()])
    assert likeness([(PATTERN, other)]) == pytest.approx((apart, -1))
    assert likeness([(PATTERN, other), (PATTERN, PATTERN)]) == pytest.approx((apart / 2, 0))
    assert likeness([(PATTERN, {"encoder.layer.0.output.dense": 5, "other": 1})]) == pytest.approx(
        (3, math.nan), nan_ok=True
    )
    assert all(map(math.isnan, likeness([(PATTERN, {"other": 1})])))
    assert all(map(math.isnan, likeness([])))
