"""Functions of sums over rows: scikit-learn and SciPy give the same values, and a bootstrap the same spread."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from funneltune.funnel import TaskFunnel
from funneltune.metrics import classification_report, clusters_in, compact, evaluate, pair
from funneltune.metrics.formulas import decisions, formula_of, moments, value_of
from funneltune.metrics.regression import mse, pearson, spearman

ROWS = 400


@pytest.fixture
def said():
    generator = np.random.default_rng(0)
    label = generator.integers(0, 2, ROWS)
    return label, np.clip(0.5 + 0.25 * (label - 0.5) + 0.2 * generator.standard_normal(ROWS), 0.0, 1.0)


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.8])
def test_matthews_and_f1_are_scikit_learns(said, cut):
    label, p = said
    found = classification_report(label, p, cut)
    assert found["mcc"] == pytest.approx(matthews_corrcoef(label, p >= cut))
    assert found["f1"] == pytest.approx(f1_score(label, p >= cut))
    assert value_of("f1", decisions(label.astype(float), p, cut)) == pytest.approx(found["f1"])


def test_matthews_by_hand_and_nothing_where_all_is_said_alike():
    assert classification_report([1, 1, 0, 0], [0.9, 0.1, 0.9, 0.1])["mcc"] == 0.0
    assert classification_report([1, 1, 0, 0], [0.9, 0.9, 0.9, 0.1])["mcc"] == pytest.approx(2 / np.sqrt(12))
    assert classification_report([1, 1, 0, 0], [0.9] * 4)["mcc"] == 0.0


def test_correlations_are_scipys_with_ties():
    generator = np.random.default_rng(1)
    value = generator.integers(0, 6, ROWS).astype(float)
    mean = 1000.0 + value + generator.standard_normal(ROWS)
    assert pearson(value, mean) == pytest.approx(stats.pearsonr(value, mean).statistic)
    assert spearman(value, mean) == pytest.approx(stats.spearmanr(value, mean).statistic)
    assert value_of("pearson", moments(value, mean)) == pytest.approx(pearson(value, mean))
    assert value_of("spearman", moments(value, mean, ranked=True)) == pytest.approx(spearman(value, mean))
    assert mse([0.0, 2.0], [1.0, 2.0]) == 0.5
    assert np.isnan(pearson(np.zeros(3), mean[:3]))


def test_a_regressions_statistics_give_its_metrics_back():
    generator = np.random.default_rng(2)
    value = generator.uniform(0, 5, ROWS)
    columns = {"request": np.arange(ROWS), "alike": value, "p_alike": value + generator.standard_normal(ROWS)}
    funnel = TaskFunnel.from_config({"alike": {"kind": "regression"}})
    columns[funnel.predicted[0]] = columns.pop("p_alike")
    found, statistics = evaluate(columns, funnel), compact(columns, funnel)
    for name in ("pearson", "spearman", "mse", "mae"):
        key = f"alike/{name}"
        assert clusters_in([statistics], key)[0].value == pytest.approx(found[key]["value"], abs=1e-5)


def test_the_spread_of_a_correlation_is_fishers():
    """Var(r) of bivariate normals is (1 - rho^2)^2 / (n - 1); a draw of rows gives as much."""
    generator, rho = np.random.default_rng(3), 0.6
    x, noise, other = generator.standard_normal((3, 2000))
    y = rho * x + np.sqrt(1 - rho**2) * noise
    funnel = TaskFunnel.from_config({"alike": {"kind": "regression"}})

    def statistics(mean):
        return compact({"request": np.arange(2000), "alike": x, funnel.predicted[0]: mean}, funnel)

    compared = pair([statistics(y)], [statistics(other)], "alike/pearson", "y", "noise")
    error = (compared.high - compared.low) / 2 / 1.96
    expected = np.sqrt(((1 - rho**2) ** 2 + 1) / 1999)
    assert compared.difference == pytest.approx(rho, abs=0.05)
    assert error == pytest.approx(expected, rel=0.1)


def test_a_threshold_of_ones_own_is_kept(said):
    label, p = said
    columns = {"request": np.arange(ROWS), "click": label, "p_click": p}
    funnel = TaskFunnel.from_config({"click": {"rate": "ctr"}})
    statistics = compact(columns, funnel, threshold={"ctr": 0.7})
    found = evaluate(columns, funnel, threshold={"ctr": 0.7})
    for name in ("mcc", "f1", "accuracy"):
        assert clusters_in([statistics], f"ctr/{name}")[0].value == pytest.approx(found[f"ctr/{name}"]["value"])


def test_a_mean_has_no_formula():
    assert formula_of("ctr/log_loss") is None
