"""Shares of a page: what groups are due, which one a place is open to, what they got."""

import numpy as np
import pytest

from funneltune.decisions.exposure import Exposure, Shares, discounts, distance, exposure
from funneltune.decisions.order import fill
from funneltune.errors import ConfigError

NAMES, COUNT, MERIT = ["a", "b", "c"], np.array([6, 3, 1]), np.array([0.2, 0.2, 0.6])


@pytest.mark.parametrize(
    ("target", "due"),
    [
        ("catalogue", [0.6, 0.3, 0.1]),
        ("merit", [0.2, 0.2, 0.6]),
        ({"c": 0.5}, [1 / 3, 1 / 6, 0.5]),
        ({"a": 0.5, "b": 0.25, "c": 0.25}, [0.5, 0.25, 0.25]),
        ({"a": 0.5, "b": 0.0, "c": 0.0}, [1, 0, 0]),
    ],
)
def test_what_is_due_is_the_catalogues_share_the_values_or_as_given(target, due):
    np.testing.assert_allclose(Exposure("brand", target).due(NAMES, COUNT, MERIT), due)


def test_without_any_value_merit_is_the_catalogues_share():
    np.testing.assert_allclose(Exposure("brand", "merit").due(NAMES, COUNT, np.zeros(3)), [0.6, 0.3, 0.1])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"column": ""}, "names no column"),
        ({"column": "brand", "target": "merits"}, "exposure.target='merits' must be catalogue or merit"),
        ({"column": "brand", "target": {"a": 1.5}}, "exposure.target.a=1.5 must be a share"),
        ({"column": "brand", "target": {"a": 0.7, "b": 0.6}}, "add up to 1.3"),
    ],
)
def test_targets_that_are_none_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        Exposure(**given)


def test_a_share_for_a_group_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="no such value; did you mean 'Acme'"):
        Exposure("brand", {"Acne": 0.5}).due(["Acme", "Zen"], np.array([1, 1]), np.zeros(2))
    with pytest.raises(ConfigError, match="exposure.target.x: the items' brand has no such value"):
        Exposure("brand", {"x": 0.5}).due(NAMES, COUNT, MERIT)


def test_every_top_k_has_between_floor_and_ceiling_of_what_a_group_is_due():
    """Geyik et al. 2019, theorem 1: DetGreedy keeps its bounds for up to three groups."""
    rng = np.random.default_rng(1)
    for n_groups in (2, 3):
        for _ in range(30):
            group = rng.integers(0, n_groups, 120)
            share = rng.dirichlet(np.ones(n_groups) * 2)
            chosen = fill(rng.random(120), 12, shares=Shares(group, share)).chosen
            shown = np.cumsum(np.eye(n_groups)[group[chosen]], axis=0)
            k = np.arange(1, 13)[:, None]
            assert (shown >= np.floor(share * k + 1e-9)).all()
            assert (shown <= np.ceil(share * k - 1e-9)).all()


def test_within_a_group_the_order_by_value_stays():
    rng = np.random.default_rng(2)
    group, value = rng.integers(0, 3, 60), rng.random(60)
    chosen = fill(value, 30, shares=Shares(group, np.array([0.5, 0.3, 0.2]))).chosen
    for one in range(3):
        assert (np.diff(value[chosen[group[chosen] == one]]) < 0).all()


def test_a_group_without_candidates_leaves_its_places_to_others():
    chosen = fill(np.array([3.0, 2.0, 1.0]), 3, shares=Shares(np.zeros(3, int), np.array([0.2, 0.8]))).chosen
    assert chosen.tolist() == [0, 1, 2]


def test_exposure_is_discounted_by_place():
    np.testing.assert_allclose(discounts(3), [1, 1 / np.log2(3), 0.5])
    first = exposure([np.array([0, 1, 1])], 2)
    np.testing.assert_allclose(first, np.array([1, 1 / np.log2(3) + 0.5]) / (1.5 + 1 / np.log2(3)))
    np.testing.assert_allclose(exposure([np.array([0, 1]), np.array([1, 0])], 2), [0.5, 0.5])
    assert exposure([], 2).tolist() == [0, 0]


def test_distance_is_the_exposure_that_would_have_to_change_hands():
    assert distance(np.array([0.7, 0.3]), np.array([0.5, 0.5])) == pytest.approx(0.2)
    assert distance(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
