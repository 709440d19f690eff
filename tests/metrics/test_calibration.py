import numpy as np
import pytest
from sklearn import metrics as reference

from funneltune.errors import DataError
from funneltune.metrics.calibration import ece, log_loss, normalised_entropy, predicted_over_observed


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


@pytest.mark.parametrize("metric", [log_loss, ece, normalised_entropy, predicted_over_observed])
def test_a_logit_is_refused(metric):
    with pytest.raises(DataError, match=r"pass p, not a logit"):
        metric([0, 1], [-1.5, 0.2])
