"""Measures of forecasts: values worked by hand, and what is resampled."""

import numpy as np
import pytest

from funneltune.errors import DataError
from funneltune.metrics.forecasts import Parts, bias, coverage, difference, mase, over_series, pinball, rmsse, wape

ACTUAL = np.array([[2.0, 0.0], [1.0, 3.0]])
MEAN = np.array([[1.0, 1.0], [1.0, 1.0]])


def test_errors_are_those_worked_by_hand():
    assert wape(ACTUAL, MEAN).value == pytest.approx((1 + 1 + 0 + 2) / 6)
    assert bias(ACTUAL, MEAN).value == pytest.approx((-1 + 1 + 0 - 2) / 6)
    past = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 2.0, 0.0]])  # steps of two days: 2, 2 and 2, 0
    assert mase(ACTUAL, MEAN, past, season=2).value == pytest.approx(np.mean([1.0 / 2.0, 1.0 / 1.0]))
    assert rmsse(ACTUAL, MEAN, past, season=2).value == pytest.approx(np.mean([1 / 2, np.sqrt(2) / np.sqrt(2)]))


def test_a_series_whose_past_never_varied_has_no_scale():
    past = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    assert mase(ACTUAL, MEAN, past, season=1).below.tolist() == [1.0, 0.0]
    assert np.isnan(over_series(mase(ACTUAL, MEAN, past * 0, season=1)).estimate)


def test_repeating_last_week_has_a_mase_of_one_on_a_series_that_goes_on_as_it_did():
    day = np.arange(35)
    series = (day % 7 + day // 7)[None].astype(float)
    assert mase(series[:, 28:], series[:, 21:28], series[:, :28]).value == pytest.approx(1.0)


def test_pinball_is_least_at_the_quantile():
    rng = np.random.default_rng(0)
    drawn = rng.poisson(6.0, (1, 20_000)).astype(float)
    losses = [pinball(drawn, np.full((1, 1, 20_000), q), np.array([0.9])).value for q in range(14)]
    assert int(np.argmin(losses)) == np.quantile(drawn, 0.9)
    assert pinball(np.array([[4.0]]), np.array([[[1.0]]]), np.array([0.9])).value == pytest.approx(0.9 * 3)
    assert pinball(np.array([[1.0]]), np.array([[[4.0]]]), np.array([0.9])).value == pytest.approx(0.1 * 3)


def test_coverage_counts_the_ends():
    assert coverage(ACTUAL, MEAN - 1, MEAN + 1).value == pytest.approx(3 / 4)


def test_an_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(1).normal(2.0, 1.0, 400)
    found = over_series(Parts(values, np.ones(400)))
    reach = 1.96 * values.std() / 20
    assert found.low == pytest.approx(found.estimate - reach, abs=0.02)
    assert found.high == pytest.approx(found.estimate + reach, abs=0.02)


def test_a_difference_draws_the_same_series_for_both():
    rng = np.random.default_rng(2)
    one = Parts(rng.normal(5.0, 3.0, 200), np.ones(200))
    other = Parts(one.above - 0.1, one.below)
    found = difference(one, other)
    assert found == pytest.approx((0.1, 0.1, 0.1))
    assert difference(one, Parts(rng.permutation(one.above), one.below)).high > 0.3
    with pytest.raises(DataError, match="200 series against 2; both must be of the same"):
        difference(one, wape(ACTUAL, MEAN))
