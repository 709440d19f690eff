"""Ordinal, multiclass and regression metrics against scikit-learn, SciPy and values by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sk

from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel
from funneltune.metrics import ceiling, compact, evaluate, metric_keys, pair
from funneltune.metrics import levels as lv
from funneltune.metrics import regression as rg

STARS = TaskFunnel.from_config({"stars": {"kind": "ordinal", "levels": [1, 2, 3]}})


def drawn(rows=500, levels=4, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(levels), rows)
    return rng.integers(0, levels, rows), p


def test_level_metrics_equal_scikit_learn():
    label, p = drawn()
    best = lv.likeliest(p)
    assert lv.row_level_losses(label, p).mean() == pytest.approx(sk.log_loss(label, p))
    assert lv.macro_f1(label, best) == pytest.approx(sk.f1_score(label, best, average="macro"))
    wanted = sk.cohen_kappa_score(label, best, weights="quadratic")
    assert lv.quadratic_weighted_kappa(label, best, 4) == pytest.approx(wanted)


def test_the_median_level_and_the_ranked_probability_score_by_hand():
    p = np.array([[0.2, 0.3, 0.5], [0.5, 0.1, 0.4], [0.1, 0.2, 0.7]])
    assert lv.median_level(p).tolist() == [1, 0, 2]
    # cumulative .2 .5 against 0 0 (level 2): (.04 + .25) / 2; .5 .6 against 1 1: (.25 + .16) / 2; .1 .3 against 0 1
    found = lv.ranked_probability_scores(np.array([2, 0, 1]), p)
    np.testing.assert_allclose(found, [0.145, 0.205, (0.01 + 0.49) / 2])


def test_regression_metrics_equal_scikit_learn_and_scipy():
    rng = np.random.default_rng(1)
    value = rng.integers(0, 9, 300).astype(float)
    mean = value + rng.normal(0, 2, 300)
    assert rg.rmse(value, mean) == pytest.approx(sk.root_mean_squared_error(value, mean))
    assert rg.mae(value, mean) == pytest.approx(sk.mean_absolute_error(value, mean))
    assert rg.r2(value, mean) == pytest.approx(sk.r2_score(value, mean))
    assert rg.spearman(value, mean) == pytest.approx(spearmanr(value, mean).statistic)


def test_what_is_undefined_is_nan():
    flat = np.ones(3)
    assert np.isnan(rg.r2(flat, flat))
    assert np.isnan(rg.spearman(flat, np.arange(3.0)))
    assert np.isnan(rg.rmse(flat[:0], flat[:0]))
    assert np.isnan(lv.quadratic_weighted_kappa(np.array([1, 1]), np.array([1, 1]), 3))


def stars(rows=60, good=True):
    label, p = drawn(rows, 3)
    if good:
        p = 0.2 * p + 0.8 * np.eye(3)[label]
    columns = {f"p_stars[{level}]": p[:, index] for index, level in enumerate((1, 2, 3))}
    return {"request": np.repeat(np.arange(rows // 3), 3), "stars": label, **columns}


def test_a_funnel_of_one_ordinal_task_is_measured_and_compared():
    columns = stars()
    found = evaluate(columns, STARS)
    assert {key.rpartition("/")[2] for key in found} == {"accuracy", "macro_f1", "log_loss", "mae", "qwk", "rps"}
    assert found["stars/qwk"]["value"] > 0.9
    assert found["stars/qwk"]["protocol"]["rows"] == "all impressions"
    first, second = compact(columns, STARS), compact(stars(good=False), STARS)
    assert set(metric_keys(first)) == {"stars/accuracy", "stars/log_loss", "stars/mae", "stars/rps"}
    better = pair([first], [second], "stars/log_loss", "a", "b")
    assert better.value == pytest.approx(found["stars/log_loss"]["value"], rel=1e-5)
    assert better.difference < 0


def test_a_grade_is_ranked_by_the_expected_level_where_no_task_is_binary():
    columns = stars()
    graded = evaluate({**columns, "grade": columns["stars"].astype(float)}, STARS)
    assert graded["grade/ndcg@10"]["protocol"]["ranked_by"] == "expected stars"
    assert graded["grade/ndcg@10"]["value"] > 0.95


def test_a_task_given_a_click_is_measured_on_clicked_rows():
    funnel = TaskFunnel.from_config({"click": {}, "spend": {"given": ["click"], "kind": "regression"}})
    columns = {
        "request": np.array([0, 0, 1, 1]),
        "click": np.array([1, 0, 1, 1]),
        "spend": np.array([5.0, 99.0, 1.0, 3.0]),
        "p_click": np.full(4, 0.5),
        "mean_spend_given_click": np.array([4.0, 0.0, 1.0, 5.0]),
    }
    found = evaluate(columns, funnel)
    assert found["spend_given_click/mae"] == {
        "value": pytest.approx(1.0),
        "protocol": {"rows": "rows where click", "n": 3, "averaging": "over rows"},
    }


def test_a_level_that_is_none_is_refused():
    columns = stars()
    columns["stars"][4] = 3
    with pytest.raises(DataError, match="stars: row 4 is 3, but a level is 0 to 2"):
        evaluate(columns, STARS)


def test_requests_of_one_row_are_not_ranked():
    funnel = TaskFunnel.from_config({"click": {}})
    columns = {"request": np.arange(4), "click": np.array([0, 1, 0, 1]), "p_click": np.array([0.1, 0.9, 0.2, 0.8])}
    assert not [key for key in evaluate(columns, funnel) if "ndcg" in key or "mrr" in key]
    several = {**columns, "user": np.array([0, 0, 1, 1])}
    assert "user" in compact(several, funnel)
    assert "request" in compact(columns, funnel)


def test_what_comes_next_is_measured_where_it_is_known_and_the_oracle_tells_the_rest():
    funnel = TaskFunnel.from_config(
        {"click": {}, "need": {"kind": "multiclass", "next": "category", "levels": ["home", "shoe"]}}
    )
    columns = {
        "request": np.array([0, 0, 1, 1]),
        "click": np.array([1, 0, 0, 1]),
        "p_click": np.array([0.6, 0.4, 0.3, 0.7]),
        "oracle_p_click": np.array([0.9, 0.1, 0.1, 0.9]),
        "need": np.array([1, 1, -1, -1]),
        "p_need[home]": np.array([0.25, 0.5, 0.9, 0.9]),
        "p_need[shoe]": np.array([0.75, 0.5, 0.1, 0.1]),
    }
    found = evaluate(columns, funnel)["need/log_loss"]
    assert found["value"] == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)
    assert found["protocol"]["n"] == 2
    assert found["protocol"]["rows"] == "impressions of requests with a later click of the shopper in the same split"
    best = ceiling(columns, funnel)
    assert best["click/auc"]["value"] == 1.0
    assert not any(key.startswith("need/") for key in best)
