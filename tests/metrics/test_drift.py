"""Distances of samples: by hand, and against SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from funneltune.errors import DataError
from funneltune.metrics.drift import ks, psi, psi_of_numbers, quantile_edges


def test_psi_is_what_a_hand_works_out():
    # (50, 50) and (80, 20), half a count added: shares 50.5 / 101 and 80.5 / 101, 20.5 / 101
    moved, kept = 80.5 / 101, 20.5 / 101
    by_hand = (moved - 0.5) * math.log(moved / 0.5) + (kept - 0.5) * math.log(kept / 0.5)
    assert psi([50, 50], [80, 20]) == pytest.approx(by_hand, rel=1e-12)


def test_psi_is_both_kullback_leibler_divergences():
    rng = np.random.default_rng(0)
    e, a = rng.integers(5, 100, 12), rng.integers(5, 100, 12)
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (e, a))
    assert psi(e, a) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), rel=1e-12)
    assert psi(e, a) == pytest.approx(psi(a, e), rel=1e-12)


def test_psi_is_zero_for_equal_shares_and_finite_where_a_bin_is_empty():
    assert psi([3, 5, 2], [3, 5, 2]) == 0
    assert 0 < psi([10, 0], [0, 10]) < math.inf
    assert psi([7, 0, 3], [7, 0, 3]) == 0, "a bin that is empty in both says nothing"


def test_the_rule_of_thumb_is_crossed_by_half_a_standard_deviation():
    rng = np.random.default_rng(1)
    here, there = rng.normal(size=(2, 20_000))
    assert psi_of_numbers(here, there) < 0.01
    # Two normals s apart: both divergences are s^2 / 2, so the index is s^2 and binning loses a little of it.
    assert psi_of_numbers(here, there + 0.5) == pytest.approx(0.25, abs=0.03)


def test_bins_are_equally_full_and_ties_stay_together():
    values = np.arange(100.0)
    counts = np.bincount(np.searchsorted(quantile_edges(values), values, "left"))
    assert counts.tolist() == [10] * 10
    assert quantile_edges([1.0] * 9 + [5.0]).tolist() == [1.0]
    assert psi_of_numbers([1, 1, 1], [1, 1, 1]) == 0


@pytest.mark.parametrize("sizes", [(1, 1), (4, 4), (200, 300), (1000, 50)])
def test_ks_is_scipys(sizes):
    rng = np.random.default_rng(sizes[0])
    x, y = rng.normal(size=sizes[0]), np.round(rng.normal(0.2, 1.1, size=sizes[1]), 1)
    assert ks(x, y)[0] == pytest.approx(stats.ks_2samp(x, y).statistic, abs=1e-12)


def test_ks_by_hand_and_its_probability_in_the_limit():
    assert ks([1, 2, 3, 4], [3, 4, 5, 6])[0] == 0.5
    assert ks([1, 2], [3, 4])[0] == 1.0
    assert ks([1, 2, 3], [1, 2, 3]) == (0.0, 1.0)
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.05, 0.2):
        x, y = rng.normal(size=3000), rng.normal(shift, size=2000)
        distance, probability = ks(x, y)
        assert probability == pytest.approx(stats.kstwobign.sf(distance * math.sqrt(3000 * 2000 / 5000)), abs=1e-10)
        assert probability == pytest.approx(stats.ks_2samp(x, y, method="asymp").pvalue, abs=0.02)


@pytest.mark.tried("metric_input", "bad_input")
@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: psi([1, 2], [1, 2, 3]), "expected has 2, actual has 3"),
        (lambda: psi([0, 0], [1, 2]), "a histogram is empty"),
        (lambda: psi([1, -1], [1, 2]), "a weight must be >= 0"),
        (lambda: ks([], [1.0]), "a sample is empty"),
        (lambda: ks([1.0], [float("nan")]), "scores must be finite"),
        (lambda: psi_of_numbers([1.0, float("inf")], [1.0]), "scores must be finite"),
    ],
)
def test_what_has_no_distance_is_refused(ask, message):
    with pytest.raises(DataError, match=message):
        ask()
