import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from funneltune.errors import DataError
from funneltune.metrics import Isotonic, Platt, Temperature, auc, ece, log_loss, reliability
from funneltune.metrics.scaling import SCALINGS, logits, surest

EVERY = pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)


@pytest.fixture
def said():
    """Labels, and probabilities that are too sure of themselves and too high; some of them equal."""
    rng = np.random.default_rng(0)
    true = rng.beta(1, 9, 3000)
    p = expit(2.5 * logit(true) + 3.0).round(3)
    return (rng.random(3000) < true).astype(int), np.clip(p, 1e-6, 1 - 1e-6)


@pytest.fixture
def later():
    rng = np.random.default_rng(1)
    true = rng.beta(1, 9, 3000)
    return (rng.random(3000) < true).astype(int), expit(2.5 * logit(true) + 3.0)


# --- against scikit-learn --------------------------------------------------------------------------------------


class Said(ClassifierMixin, BaseEstimator):
    """Logits of p as scikit-learn's calibration takes a fitted classifier."""

    classes_ = np.array([0, 1])

    def fit(self, z, label):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def decision_function(self, z):
        return z[:, 0]

    def predict(self, z):
        return (z[:, 0] > 0).astype(int)


def by_scikit_learn(method, said):
    z = logit(said[1])[:, None]
    fitted = CalibratedClassifierCV(FrozenEstimator(Said()), method=method, ensemble=False, cv=3).fit(z, said[0])
    return fitted.predict_proba(z)[:, 1]


def test_platt_equals_scikit_learns_sigmoid(said):
    assert Platt.fit(*said).apply(said[1]) == pytest.approx(by_scikit_learn("sigmoid", said), abs=1e-5)


def test_temperature_equals_scikit_learns(said):
    assert Temperature.fit(*said).apply(said[1]) == pytest.approx(by_scikit_learn("temperature", said), abs=1e-5)


def test_temperature_is_a_logistic_regression_without_intercept(said):
    label, p = said
    wanted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12).fit(logit(p)[:, None], label)
    assert 1 / Temperature.fit(label, p).temperature == pytest.approx(wanted.coef_[0, 0], rel=1e-5)


def test_isotonic_equals_scikit_learns_within_the_surest_values(said):
    label, p = said
    low, high = surest(label.astype(float))
    wanted = IsotonicRegression(y_min=low, y_max=high, out_of_bounds="clip").fit(p, label)
    at = np.r_[0, 1, p, np.linspace(0, 1, 777)]
    assert Isotonic.fit(label, p).apply(at) == pytest.approx(wanted.predict(at), abs=1e-12)


# --- by hand ---------------------------------------------------------------------------------------------------


def test_temperature_of_two_kinds_of_rows_by_hand():
    # said 0.8 and 0.2; it came in 3 of 4 and in 1 of 4: sigmoid(log(4) / T) = 3/4, so T = log 4 / log 3
    label, p = [1, 1, 1, 0, 0, 0, 0, 1], [0.8] * 4 + [0.2] * 4
    found = Temperature.fit(label, p)
    assert found.temperature == pytest.approx(np.log(4) / np.log(3), rel=1e-9)
    assert found.apply([0.8, 0.2]) == pytest.approx([0.75, 0.25], rel=1e-9)


def test_platt_meets_the_mean_target_of_each_of_two_kinds_of_rows():
    label, p = np.array([1, 1, 1, 0, 0, 0, 0, 1]), [0.9] * 4 + [0.3] * 4
    high, low = 5 / 6, 1 / 6  # (4 + 1) / (4 + 2), 1 / (4 + 2)
    wanted = [(3 * high + low) / 4, (high + 3 * low) / 4]
    assert Platt.fit(label, p).apply([0.9, 0.3]) == pytest.approx(wanted, rel=1e-9)


def test_platt_of_one_value_of_p_says_its_mean_target():
    assert Platt.fit([1, 0, 0, 0], [0.5] * 4).apply([0.5])[0] == pytest.approx((2 / 3 + 3 * 0.2) / 4, rel=1e-9)


def test_isotonic_by_hand():
    # 0.1: 0; 0.2: 1; 0.3: 0 -> the last two are pooled; 0.4: 1. Cut to 1 / (2 + 2) and 3 / 4.
    found = Isotonic.fit([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    assert found == Isotonic((0.1, 0.2, 0.3, 0.4), (0.25, 0.5, 0.5, 0.75))
    assert found.apply([0.0, 0.15, 0.25, 0.35, 1.0]) == pytest.approx([0.25, 0.375, 0.5, 0.625, 0.75])


def test_a_sample_that_p_parts_without_a_fault_is_not_believed_for_ever():
    label, p = [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9]
    assert Temperature.fit(label, p).temperature == pytest.approx(0.01)
    assert Temperature.fit(label[::-1], p).temperature == pytest.approx(100.0)
    assert np.isfinite(Platt.fit(label, p).slope)
    assert Isotonic.fit(label, p).apply([0, 1]) == pytest.approx([0.2, 0.8])


# --- what holds always -----------------------------------------------------------------------------------------


def test_temperature_one_changes_nothing(said):
    assert Temperature(1.0).apply(said[1]) == pytest.approx(said[1], rel=1e-12)
    assert Platt(1.0, 0.0).apply(said[1]) == pytest.approx(said[1], rel=1e-12)


def test_temperature_and_platt_leave_every_auc_as_it_is(said, later):
    for fitted in (Temperature.fit(*said), Platt.fit(*said)):
        assert auc(later[0], fitted.apply(later[1])) == pytest.approx(auc(*later), abs=1e-12)
    assert Platt.fit(*said).slope > 0


@EVERY
def test_log_loss_falls_on_rows_that_were_not_fitted(scaling, said, later):
    label, p = later
    assert log_loss(label, scaling.fit(*said).apply(p)) < log_loss(label, p)


@pytest.mark.parametrize("scaling", [Platt, Isotonic])
def test_the_calibration_error_falls_on_rows_that_were_not_fitted(scaling, said, later):
    # (a temperature alone cannot: these are too high, and it draws towards one half)
    label, p = later
    assert ece(label, scaling.fit(*said).apply(p)) < 0.25 * ece(label, p)


def test_a_temperature_mends_what_is_only_too_sure():
    rng = np.random.default_rng(2)
    true = rng.beta(2, 2, 4000)
    label, p = (rng.random(4000) < true).astype(int), expit(3.0 * logit(true))
    found = Temperature.fit(label, p)
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert ece(label, found.apply(p)) < 0.25 * ece(label, p)


@EVERY
def test_no_scaling_ever_says_0_or_1_or_falls(scaling, said):
    found = scaling.fit(*said).apply(np.linspace(0, 1, 501))
    assert (np.diff(found) >= 0).all()
    assert (found > 0).all()
    assert (found < 1).all()


@EVERY
def test_a_scaling_comes_back_from_json(scaling, said):
    found = scaling.fit(*said)
    assert scaling.from_json(json.loads(json.dumps(found.to_json()))) == found


@EVERY
def test_the_order_of_rows_does_not_matter(scaling, said):
    label, p = said
    turned = scaling.fit(label[::-1], p[::-1]).apply(p)
    assert turned == pytest.approx(scaling.fit(label, p).apply(p), rel=1e-9)


def test_the_logit_of_0_and_1_is_finite():
    assert np.abs(logits([0.0, 1.0])).max() < 37


# --- the reliability curve -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 7, 15, 5000])
def test_the_curves_gaps_are_the_calibration_error(said, bins):
    label, p = said
    found = reliability(label, p, bins)
    gaps = np.abs(np.subtract(found.predicted, found.observed)) * found.n
    assert gaps.sum() / len(p) == pytest.approx(ece(label, p, bins), abs=1e-12)
    assert sum(found.n) == len(p)
    assert np.dot(found.observed, found.n) == pytest.approx(label.sum())


def test_the_curve_by_hand():
    found = reliability([0, 0, 1, 0], [0.1, 0.2, 0.7, 0.9], bins=2)
    assert found.predicted == pytest.approx((0.15, 0.8))
    assert found.observed == (0.0, 0.5)
    assert found.n == (2, 2)


def test_no_rows_make_no_curve():
    assert reliability([], []).to_json() == {"predicted": [], "observed": [], "n": []}


# --- what is refused -------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("label", [[0, 0, 0], [1, 1, 1]])
def test_labels_of_one_kind_are_refused(scaling, label):
    with pytest.raises(DataError, match=r"of 3 labels are 1; a scaling is fitted to both kinds"):
        scaling.fit(label, [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Temperature(0.0), "temperature=0.0 must be a number above 0"),
        (lambda: Temperature(np.nan), "temperature=nan must be"),
        (lambda: Platt(np.inf, 0.0), "slope=inf, intercept=0.0 must be finite"),
        (lambda: Isotonic((), ()), "0 knots of p with 0 values"),
        (lambda: Isotonic((0.1, 0.2), (0.3,)), "2 knots of p with 1 values"),
        (lambda: Isotonic((0.2, 0.1), (0.3, 0.4)), "knots must ascend"),
        (lambda: Isotonic((0.1, 0.2), (0.4, 0.3)), "never fall"),
        (lambda: Temperature.from_json({"slope": 1}), r"are no parameters of Temperature \(temperature\)"),
        (lambda: Isotonic.from_json({"said": 3, "likely": []}), "are no parameters of Isotonic"),
    ],
)
def test_parameters_that_are_none_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()
