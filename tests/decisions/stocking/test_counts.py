"""Chances of counts: against exact sums of chances, and spreads found again where they are known."""

import numpy as np
import pytest
from scipy import stats

from funneltune.decisions.stocking import Spread, quantile, spread_of

LEVELS = (0.05, 0.25, 0.5, 0.9, 0.99)


def exact(p):
    """The chances of a sum of coins."""
    found = np.ones(1)
    for one in p:
        found = np.convolve(found, [1 - one, one])
    return found


@pytest.mark.parametrize("p", [np.full(40, 0.02), np.full(30, 0.4), np.linspace(0.01, 0.9, 25)])
def test_quantiles_are_those_of_a_sum_of_chances(p):
    mean, variance = np.array([p.sum()]), np.array([(p * (1 - p)).sum()])
    cumulated = np.cumsum(exact(p))
    for level in LEVELS:
        assert quantile(level, mean, variance)[0] == pytest.approx(np.argmax(cumulated >= level), abs=1)


def test_a_count_that_varies_more_is_a_negative_binomial_and_of_nothing_is_nothing():
    found = quantile(0.9, np.array([4.0, 4.0, 0.0]), np.array([4.0, 12.0, 0.0]))
    assert found.tolist() == [stats.poisson.ppf(0.9, 4), stats.nbinom.ppf(0.9, 16 / 8, 4 / 12), 0.0]


def drawn(lasting, passing, series=400, days=12, mean=6.0, seed=0):
    rng = np.random.default_rng(seed)
    means = np.full((series, days), mean)
    own = rng.gamma(1 / lasting, lasting, (series, 1)) if lasting else 1.0
    of_day = rng.gamma(1 / passing, passing, (series, days)) if passing else 1.0
    return rng.poisson(means * own * of_day).astype(float), means


@pytest.mark.parametrize(("lasting", "passing"), [(0.3, 0.0), (0.0, 0.3), (0.2, 0.2)])
def test_what_lasts_and_what_passes_are_told_apart(lasting, passing):
    actual, mean = drawn(lasting, passing)
    found = spread_of(actual, mean, mean)
    assert found.lasting == pytest.approx(lasting, abs=0.07)
    assert found.passing == pytest.approx(passing, abs=0.07)


def test_means_that_are_right_need_no_spread_and_no_other_mean():
    rng = np.random.default_rng(5)
    mean = np.repeat(rng.gamma(1.0, 4.0, (400, 1)), 12, axis=1)
    actual = rng.poisson(mean).astype(float)
    found = spread_of(actual, mean, mean)
    assert (found.lasting, found.passing) == pytest.approx((0.0, 0.0), abs=0.02)
    assert found.floor <= 0.1 * mean.mean()


def test_where_nothing_was_forecast_and_something_sold_no_mean_is_taken_to_be_nothing():
    rng = np.random.default_rng(3)
    actual = rng.poisson(1.0, (300, 8)).astype(float)
    said = rng.poisson(1.0, (300, 8)).astype(float)  # last week's: nothing, every third day
    found = spread_of(actual, said, said)
    assert found.floor >= 0.35
    assert found.floor_of_sums <= found.floor
    high = found.quantile(0.95, said, said)
    assert (actual <= high).mean() > 0.9


def test_days_that_do_not_count_are_left_out():
    actual, mean = drawn(0.0, 0.0)
    counts = np.ones(actual.shape, dtype=bool)
    spoilt = actual.copy()
    spoilt[:, 0], counts[:, 0] = 60.0, False
    assert spread_of(spoilt, mean, mean, counts).passing < spread_of(spoilt, mean, mean).passing


def test_intervals_cover_what_they_say_on_days_to_come():
    actual, mean = drawn(0.2, 0.1, seed=4)
    found = spread_of(actual[:, :6], mean[:, :6], mean[:, :6])
    later = actual[:, 6:]
    low, high = (found.quantile(level, mean[:, 6:], mean[:, 6:]) for level in (0.05, 0.95))
    assert 0.88 < ((later >= low) & (later <= high)).mean() < 0.96
    total, of_all = later.sum(axis=1), mean[:, 6:].sum(axis=1)
    low, high = (found.quantile(level, of_all, of_all, 6) for level in (0.05, 0.95))
    assert 0.86 < ((total >= low) & (total <= high)).mean() < 0.96
    assert Spread(0, 0, 0.2, 0.6).over(6) == pytest.approx(0.3)
