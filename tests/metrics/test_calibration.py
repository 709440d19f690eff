import numpy as np
import pytest
from sklearn import metrics as reference

from funneltune.errors import DataError
from funneltune.metrics.calibration import (
    ece,
    expected_ece,
    expected_log_loss,
    log_loss,
    normalised_entropy,
    predicted_over_observed,
    predicted_over_true,
)


@pytest.fixture
def said():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 9, 1000)
    return (rng.random(1000) < p).astype(int), p


def test_log_loss_equals_scikit_learn_also_where_p_is_0_or_1(said):
    label, p = said
    p = p.copy()
    p[:4], label[:4] = [0, 1, 0, 1], [0, 1, 1, 0]
    assert log_loss(label, p) == pytest.approx(reference.log_loss(label, p), rel=1e-12)


def test_normalised_entropy_of_the_base_rate_is_one():
    assert normalised_entropy([0, 0, 0, 1], np.full(4, 0.25)) == pytest.approx(1.0, abs=1e-12)


def test_normalised_entropy_by_hand():
    base = -(0.5 * np.log(0.5) * 2)
    assert normalised_entropy([0, 1], [0.2, 0.8]) == pytest.approx(-np.log(0.8) / base, abs=1e-12)


@pytest.mark.parametrize("label", [[0, 0], [1, 1]])
def test_normalised_entropy_of_one_class_is_undefined(label):
    assert np.isnan(normalised_entropy(label, [0.3, 0.4]))


def test_ece_by_hand_over_two_bins_of_equal_mass():
    # bins {.1, .2} with rate 0 and {.7, .9} with rate .5: (2 x .15 + 2 x .3) / 4
    assert ece([0, 0, 1, 0], [0.1, 0.2, 0.7, 0.9], bins=2) == pytest.approx(0.225, abs=1e-12)


def test_ece_of_a_constant_is_its_distance_from_the_rate_in_any_row_order():
    label = np.array([1] * 30 + [0] * 70)
    assert ece(label, np.full(100, 0.5)) == pytest.approx(0.2, abs=1e-12)
    assert ece(label[::-1], np.full(100, 0.5)) == pytest.approx(0.2, abs=1e-12)


def test_ece_with_as_many_bins_as_rows_is_the_mean_absolute_error(said):
    label, p = said
    assert ece(label, p, bins=5000) == pytest.approx(np.abs(label - p).mean(), abs=1e-12)


def test_predicted_over_observed_by_hand():
    assert predicted_over_observed([1, 0, 1, 0], [0.5, 0.5, 1.0, 1.0]) == 1.5


def test_nothing_to_divide_by_is_undefined():
    assert np.isnan(predicted_over_observed([0, 0], [0.1, 0.2]))
    assert np.isnan(log_loss([], []))
    assert np.isnan(ece([], []))
    assert np.isnan(predicted_over_true([0, 0], [0.1, 0.2]))
    assert np.isnan(expected_log_loss([], []))
    assert np.isnan(expected_ece([], []))


@pytest.mark.parametrize("metric", [log_loss, ece, normalised_entropy, predicted_over_observed])
def test_a_logit_is_refused(metric):
    with pytest.raises(DataError, match=r"pass p, not a logit"):
        metric([0, 1], [-1.5, 0.2])


def test_expected_log_loss_by_hand():
    # a row true at 1/4 and said at 1/2 costs ln 2; one that is sure to be positive and said at 1/8 costs 3 ln 2
    assert expected_log_loss([0.25, 1.0], [0.5, 0.125]) == pytest.approx(2 * np.log(2), abs=1e-12)
    assert expected_log_loss([0.25], [0.2]) == pytest.approx(-(0.25 * np.log(0.2) + 0.75 * np.log(0.8)), abs=1e-12)


def test_expected_log_loss_is_least_at_the_truth_and_there_the_entropy(said):
    _, p = said
    least = expected_log_loss(p, p)
    assert least == pytest.approx(-np.mean(p * np.log(p) + (1 - p) * np.log1p(-p)), rel=1e-9)
    rng = np.random.default_rng(1)
    assert all(expected_log_loss(p, np.clip(p + rng.normal(0, 0.01, 1000), 0, 1)) > least for _ in range(20))


def test_expected_losses_are_the_average_over_redrawn_labels(said):
    _, p = said
    rng, q = np.random.default_rng(2), np.clip(p * 1.5, 0, 1)
    drawn = [log_loss((rng.random(1000) < p).astype(int), q) for _ in range(400)]
    assert expected_log_loss(p, q) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 20)


def test_an_oracle_that_is_sure_gives_the_metrics_of_labels(said):
    label, p = said
    assert expected_log_loss(label, p) == log_loss(label, p)
    assert expected_ece(label, p, bins=7) == ece(label, p, bins=7)
    assert predicted_over_true(label, p) == predicted_over_observed(label, p)


def test_expected_ece_by_hand_over_two_bins_of_equal_mass():
    # bins {.1, .2} with true mean .25 and {.7, .9} with true mean .7: (2 x .1 + 2 x .1) / 4
    assert expected_ece([0.2, 0.3, 0.6, 0.8], [0.1, 0.2, 0.7, 0.9], bins=2) == pytest.approx(0.1, abs=1e-12)


def test_expected_ece_of_the_truth_is_zero_in_any_row_order(said):
    _, p = said
    assert expected_ece(p, p) == pytest.approx(0.0, abs=1e-15)
    assert expected_ece(p, np.full(1000, 0.5)) == pytest.approx(0.5 - p.mean(), abs=1e-12)
    assert expected_ece(p[::-1], (p / 2)[::-1]) == pytest.approx(expected_ece(p, p / 2), abs=1e-12)


def test_predicted_over_true_by_hand():
    assert predicted_over_true([0.25, 0.25, 0.5, 0.0], [0.5, 0.5, 0.25, 0.25]) == 1.5
    assert predicted_over_true([0.1, 0.3], [0.1, 0.3]) == 1.0


@pytest.mark.parametrize("metric", [expected_log_loss, expected_ece, predicted_over_true])
def test_an_oracle_that_is_no_probability_or_of_other_rows_is_refused(metric):
    with pytest.raises(DataError, match=r"oracle p: row 1 is 1.2"):
        metric([0.5, 1.2], [0.1, 0.2])
    with pytest.raises(DataError, match=r"pass p, not a logit"):
        metric([0.5, 0.2], [-1.5, 0.2])
    with pytest.raises(DataError, match=r"differ in length"):
        metric([0.5, 0.2], [0.2])
    if metric is expected_ece:
        with pytest.raises(DataError, match=r"metrics.bins=0 must be >= 1"):
            metric([0.5], [0.2], 0)
