"""What one class, one user or no row leaves undefined is NaN, or None with a reason and counts; never 0.0 or 1.0."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funneltune import metrics
from funneltune.funnel import TaskFunnel
from funneltune.metrics import compact, evaluate, judge, lists, metric_keys, pair
from funneltune.metrics import levels as lv
from funneltune.metrics import regression as rg

pytestmark = pytest.mark.tried("one_class", "fault")

CLASSES = {"all 0": np.zeros(6, int), "all 1": np.ones(6, int), "no rows": np.zeros(0, int)}
P = np.array([0.1, 0.9, 0.4, 0.4, 0.6, 0.2])
USERS = np.zeros(6, int)

NO_CLAIM = {  # metric of (label, p) -> the classes that leave it undefined; elsewhere it has its own value
    "auc": (metrics.auc, ["all 0", "all 1", "no rows"]),
    "pr_auc": (metrics.pr_auc, ["all 0", "all 1", "no rows"]),
    "gauc of one user": (lambda y, p: metrics.grouped_auc(y, p, USERS[: len(y)]).value, ["all 0", "all 1", "no rows"]),
    "weighted_auc": (lambda y, p: metrics.weighted_auc(p, y, 1 - y), ["all 0", "all 1", "no rows"]),
    "expected_auc": (metrics.expected_auc, ["all 0", "all 1", "no rows"]),
    "placements": (lambda y, p: np.r_[metrics.placements(p, y, 1 - y).among_negatives, np.nan].mean(), list(CLASSES)),
    "normalised_entropy": (metrics.normalised_entropy, ["all 0", "all 1", "no rows"]),
    "predicted_over_observed": (metrics.predicted_over_observed, ["all 0", "no rows"]),
    "predicted_over_true": (metrics.predicted_over_true, ["all 0", "no rows"]),
    "log_loss": (metrics.log_loss, ["no rows"]),
    "expected_log_loss": (metrics.expected_log_loss, ["no rows"]),
    "expected_ece": (metrics.expected_ece, ["no rows"]),
    "ece": (metrics.ece, ["no rows"]),
    "precision": (lambda y, p: metrics.classification_report(y, p)["precision"], ["no rows"]),
    "precision, none named": (lambda y, p: metrics.classification_report(y, p, 1.0)["precision"], list(CLASSES)),
    "recall": (lambda y, p: metrics.classification_report(y, p)["recall"], ["all 0", "no rows"]),
    "f1": (lambda y, p: metrics.classification_report(y, p)["f1"], ["all 0", "no rows"]),
    "accuracy": (lambda y, p: metrics.classification_report(y, p)["accuracy"], ["no rows"]),
    "ndcg": (lambda y, p: lists.ndcg(lists.RankedLists(USERS[: len(y)], p), y, 3).mean, ["all 0", "no rows"]),
    "mrr": (lambda y, p: lists.reciprocal_rank(lists.RankedLists(USERS[: len(y)], p), y).mean, ["all 0", "no rows"]),
    "recall@3": (lambda y, p: lists.recall(lists.RankedLists(USERS[: len(y)], p), y, 3).mean, ["all 0", "no rows"]),
    "kappa": (lambda y, p: lv.quadratic_weighted_kappa(y, (p > 0.5).astype(int), 2), list(CLASSES)),
    "macro_f1": (lambda y, p: lv.macro_f1(y, (p > 0.5).astype(int)), ["no rows"]),
    "r2": (lambda y, p: rg.r2(0.1 * y, p), list(CLASSES)),
    "spearman": (rg.spearman, list(CLASSES)),
    "rmse": (rg.rmse, ["no rows"]),
    "mae": (rg.mae, ["no rows"]),
}


@pytest.mark.parametrize("labels", CLASSES)
@pytest.mark.parametrize("name", NO_CLAIM)
def test_a_metric_is_nan_exactly_where_its_labels_leave_it_undefined(name, labels):
    measure, undefined = NO_CLAIM[name]
    label = CLASSES[labels]
    assert np.isnan(measure(label, P[: len(label)])) == (labels in undefined)


def log(click, purchase=None, requests=3):
    rows = len(click)
    p = np.linspace(0.1, 0.9, rows)
    return {
        "request": np.arange(rows) % requests,
        "user": np.zeros(rows, int),
        "click": np.asarray(click),
        "purchase": np.zeros(rows, int) if purchase is None else np.asarray(purchase),
        "p_click": p,
        "p_purchase_given_click": p[::-1].copy(),
    }


SEPARATES = ("auc", "pr_auc", "gauc_user", "gauc_request", "normalised_entropy", "mrr", "ndcg@10", "recall@10")


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_none_with_a_reason_and_counts_for_all_that_separates_or_ranks(funnel, label):
    found = evaluate(log(np.full(12, label)), funnel)
    for name in SEPARATES:
        entry = found[f"ctr/{name}"]
        assert entry["value"] is None, name
        assert entry["protocol"]["reason"], name
        assert (entry["protocol"]["n"], entry["protocol"]["positives"]) == (12, 12 * label)
    assert found["ctr/log_loss"]["value"] > 0
    assert found["ctr/ece"]["value"] > 0


def test_requests_of_one_class_each_rank_nothing(funnel):
    found = evaluate(log(np.arange(12) % 3 == 0), funnel)  # request 0 is all clicks, the others have none
    for name in ("mrr", "ndcg@10", "recall@10", "gauc_request"):
        assert found[f"ctr/{name}"]["value"] is None
        assert "has both classes" in found[f"ctr/{name}"]["protocol"]["reason"]
    assert found["ctr/ndcg@10"]["protocol"]["groups_indifferent"] == 1
    assert found["ctr/auc"]["value"] is not None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 1), min_size=0, max_size=12), st.integers(1, 4), st.floats(0, 1))
def test_no_log_of_any_labels_gives_a_number_without_the_rows_for_it(clicks, requests, threshold):
    funnel = TaskFunnel.from_config({"click": {"rate": "ctr"}, "purchase": {"given": ["click"], "rate": "cvr"}})
    found = evaluate(log(np.array(clicks, dtype=int), requests=requests), funnel, threshold=threshold)
    for key, entry in found.items():
        value, protocol = entry["value"], entry["protocol"]
        assert value is None or np.isfinite(value), key
        assert ("reason" in protocol) == (value is None), key
        one_class = protocol["positives"] in (0, protocol["n"])
        if one_class and key.partition("/")[2] in SEPARATES:
            assert value is None, key


def test_one_level_leaves_kappa_undefined_and_names_it():
    funnel = TaskFunnel.from_config({"stars": {"kind": "ordinal", "levels": ["one", "two"]}})
    columns = {"request": np.arange(4), "stars": np.ones(4, int)}
    columns |= {"p_stars[one]": np.array([0.9, 0.2, 0.4, 0.6]), "p_stars[two]": np.array([0.1, 0.8, 0.6, 0.4])}
    entry = evaluate(columns, funnel)["stars/qwk"]
    assert entry["value"] is None
    assert (entry["protocol"]["reason"], entry["protocol"]["n"]) == ("every label is two", 4)


def test_grades_that_are_all_equal_within_each_request_leave_nothing_to_discriminate(funnel):
    columns = log(np.arange(12) % 2)
    columns["grade"] = (columns["request"] + 1.0).astype(float)
    entry = evaluate(columns, funnel)["grade/ndcg_discriminating@10"]
    assert entry["value"] is None
    assert entry["protocol"]["reason"] == "every request's grades are all equal"


@pytest.mark.parametrize("label", [0, 1])
def test_a_comparison_on_one_class_claims_nothing(funnel, label):
    columns = log(np.full(12, label))
    first, second = compact(columns, funnel), compact({**columns, "p_click": columns["p_click"][::-1].copy()}, funnel)
    assert "ctr/auc" in metric_keys(first)
    (verdict,) = judge([pair([first], [second], "ctr/auc", "a", "b")])
    assert (verdict.verdict, verdict.value, verdict.difference) == ("no claim", None, None)
