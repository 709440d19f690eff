"""Uplift measures: values by hand, invariants, and what chance gives."""

import numpy as np
import pytest

from funneltune.errors import DataError
from funneltune.metrics.uplift import (
    RankedTrial,
    auuc,
    calibration,
    draws_of,
    ends,
    policy_values,
    qini,
    qini_curve,
    standardised_differences,
    uplift_at,
)


def trial(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    treated, responder = rng.integers(0, 2, n), rng.integers(0, 2, n)
    outcome = rng.random(n) < 0.2 + 0.4 * treated * responder
    return outcome.astype(float), treated, responder.astype(float)


def test_a_qini_curve_by_hand():
    # ranked: treated buyer, control, treated, control buyer
    curve = qini_curve(RankedTrial([1, 0, 0, 1], [1, 0, 1, 0], [4, 3, 2, 1]).totals())
    assert curve.share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.gained.tolist() == [0, 0.5, 0.5, 0.5, 0]
    assert curve.above_random == pytest.approx(0.25 * (0.25 + 0.5 + 0.5 + 0.25))


def test_a_score_that_says_nothing_has_a_qini_of_exactly_zero():
    outcome, treated, _ = trial()
    assert qini(outcome, treated, np.zeros(len(outcome))) == pytest.approx(0, abs=1e-12)
    assert auuc(outcome, treated, np.zeros(len(outcome))) == pytest.approx(
        (outcome[treated == 1].mean() - outcome[treated == 0].mean()) / 2
    )


def test_the_responders_qini_is_that_of_theory_and_reversed_it_is_below_zero():
    outcome, treated, responder = trial(100_000)
    # half respond by .4: the curve rises to .2 at one half and stays: .1 less .05 at its middle -> a triangle of .05
    assert qini(outcome, treated, responder) == pytest.approx(0.05, abs=0.004)
    assert qini(outcome, treated, -responder) == pytest.approx(-0.05, abs=0.004)
    assert uplift_at(RankedTrial(outcome, treated, responder).totals(), 0.25) == pytest.approx(0.4, abs=0.02)


def test_shuffled_treatment_has_a_qini_of_about_zero():
    outcome, treated, responder = trial()
    rng = np.random.default_rng(1)
    values = [qini(outcome, rng.permutation(treated), responder) for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)
    assert qini(outcome, treated, responder) > 5 * np.std(values)


def test_weights_are_copies():
    outcome, treated, score = trial(60)
    times = np.random.default_rng(0).integers(1, 4, 60)
    weighted = qini_curve(RankedTrial(outcome, treated, score).totals(times.astype(float)))
    copied = qini_curve(RankedTrial(*(np.repeat(one, times) for one in (outcome, treated, score))).totals())
    assert weighted.above_random == pytest.approx(copied.above_random)


def test_a_policy_s_value_is_that_of_its_people():
    outcome, treated, responder = trial(200_000)
    values = policy_values(outcome, treated, responder, 0.5, margin=10, cost=1)
    assert values.mean() == pytest.approx(0.5 * (10 * 0.6 - 1) + 0.5 * 10 * 0.2, abs=0.05)


def test_calibration_sees_what_is_predicted_right():
    outcome, treated, responder = trial(20_000)
    low, high = calibration(outcome, treated, 0.4 * responder, groups=2)
    assert low.low < 0 < low.high
    assert high.low < 0.4 < high.high
    assert (low.people, high.predicted) == (10_000, pytest.approx(0.4, abs=0.01))


def test_a_difference_is_in_standard_deviations():
    covariates = np.array([[0.0, 1, 0], [2, 1, 0], [1, 1, 5], [3, 1, 5]])
    found = standardised_differences(covariates, [0, 0, 1, 1])
    assert found.tolist() == [1.0, 0.0, np.inf]


def test_clusters_are_drawn_whole():
    cluster = [0, 0, 1, 2, 2]
    drawn = draws_of(cluster, 50, 0)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert ends([np.nan, np.nan])[0] != ends([1.0])[0]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (([1, 0], [1, 1], [0, 1]), "people in both arms"),
        (([1, 0], [1, 2], [0, 1]), "treated must be 0 or 1"),
        (([1, 0], [1, 0], [0, np.nan]), "a score is not finite"),
        (([1, 0], [1, 0], [0]), "each person has one each"),
    ],
)
def test_trials_that_are_none_are_refused(given, told):
    with pytest.raises(DataError, match=told):
        RankedTrial(*given)
