"""Wrong inputs are refused in one line by every public metric; none is sorted, broadcast or cut silently."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funneltune import metrics
from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel
from funneltune.metrics import lists
from funneltune.metrics import regression as rg

pytestmark = pytest.mark.tried("metric_input", "fault")

GROUP = np.array([0, 0, 1, 1, 1, 1])
FUNNEL = TaskFunnel.from_config({"click": {"rate": "ctr"}})


def log(label, p):
    return {"request": np.arange(len(label)) // 2, "click": np.asarray(label), "p_click": np.asarray(p)}


def of_score(call):
    """With the labels of a clean log and a baseline's score."""
    return lambda label, score: call({**log(label, np.full(len(label), 0.5)), "request": GROUP[: len(label)]}, score)


BINARY = {  # functions of labels and scores
    "auc": metrics.auc,
    "pr_auc": metrics.pr_auc,
    "grouped_auc": lambda y, s: metrics.grouped_auc(y, s, GROUP),
    "score_metrics": of_score(lambda columns, s: metrics.score_metrics(columns, FUNNEL, np.asarray(s))),
    "compact's scores": of_score(lambda columns, s: metrics.compact(columns, FUNNEL, scores={"bm25": np.asarray(s)})),
    "ndcg": lambda y, s: lists.ndcg(lists.RankedLists(GROUP, s), y, 3),
    "mrr": lambda y, s: lists.reciprocal_rank(lists.RankedLists(GROUP, s), y),
    "recall": lambda y, s: lists.recall(lists.RankedLists(GROUP, s), y, 3),
}
PROBABILITIES = {  # functions of labels and probabilities
    "log_loss": metrics.log_loss,
    "ece": metrics.ece,
    "normalised_entropy": metrics.normalised_entropy,
    "predicted_over_observed": metrics.predicted_over_observed,
    "classification_report": metrics.classification_report,
    "evaluate": lambda y, p: metrics.evaluate(log(y, p), FUNNEL),
    "compact": lambda y, p: metrics.compact(log(y, p), FUNNEL),
    "ceiling": lambda y, p: metrics.ceiling({**log(y, np.full(len(y), 0.5)), "oracle_p_click": np.asarray(p)}, FUNNEL),
}
WEIGHTED = {  # functions of a score and two weights
    "weighted_auc": lambda a, s: metrics.weighted_auc(s, a, np.ones(6)),
    "placements": lambda a, s: metrics.placements(s, np.ones(6), a),
}
NUMBERS = {name: getattr(rg, name) for name in ("rmse", "mae", "r2", "spearman")}
EVERY = BINARY | PROBABILITIES
LABELS, P = [0, 1, 0, 1, 1, 0], [0.1, 0.9, 0.3, 0.4, 0.8, 0.2]


def refused(call, first, second, message):
    with pytest.raises(DataError, match=message) as error:
        call(first, second)
    assert "\n" not in str(error.value)


def with_one(values, place, wrong):
    changed = np.array(values, dtype=np.float64)
    changed[place] = wrong
    return changed


@pytest.mark.parametrize("name", [name for name in EVERY if name != "ndcg"])  # it takes gains, grades too
@settings(deadline=None, max_examples=15)
@given(place=st.integers(0, 5), wrong=st.sampled_from([2, -1, 0.5, float("nan"), float("inf")]))
def test_a_label_that_is_none_is_refused(name, place, wrong):
    refused(EVERY[name], with_one(LABELS, place, wrong), P, f"row {place} is .*, but a label must be 0 or 1")


@pytest.mark.parametrize("name", EVERY | WEIGHTED | NUMBERS)
@settings(deadline=None, max_examples=15)
@given(place=st.integers(0, 5), wrong=st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_a_score_that_is_not_finite_is_refused(name, place, wrong):
    call = (EVERY | WEIGHTED | NUMBERS)[name]
    refused(call, LABELS, with_one(P, place, wrong), f"row {place} is .*not finite")


@pytest.mark.parametrize("labels", [LABELS, [0] * 6, [1] * 6])
@pytest.mark.parametrize("name", PROBABILITIES)
@settings(deadline=None, max_examples=15)
@given(place=st.integers(0, 5), wrong=st.sampled_from([-1e-9, 1.001, -3.0, 17.0]))
def test_a_probability_outside_the_unit_interval_is_refused_whatever_the_labels(name, labels, place, wrong):
    refused(PROBABILITIES[name], labels, with_one(P, place, wrong), r"must lie in \[0, 1\]")


@pytest.mark.parametrize("labels", [LABELS, [0] * 6, [1] * 6])
@pytest.mark.parametrize("rows", [0, 1, 5, 7])
@pytest.mark.parametrize("name", EVERY | WEIGHTED | NUMBERS)
def test_lengths_that_differ_are_refused_whatever_the_labels(name, rows, labels):
    call = (EVERY | WEIGHTED | NUMBERS)[name]
    refused(call, labels, np.resize(P, rows), "differ in length|has [0157] rows")


@pytest.mark.parametrize("name", EVERY | WEIGHTED | NUMBERS)
def test_a_matrix_or_words_are_refused(name):
    call = (EVERY | WEIGHTED | NUMBERS)[name]
    refused(call, LABELS, np.tile(P, (6, 1)), "shape")
    refused(call, LABELS, list("abcdef"), "something else than numbers")


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_negative_weight_is_refused(name):
    refused(WEIGHTED[name], [1, 1, -1, 1, 1, 1], P, "row 2 is -1.0, but a weight must be >= 0")


def test_a_wrong_oracle_is_refused():
    with pytest.raises(DataError, match="oracle p: row 1 is 1.5"):
        metrics.expected_auc([0.1, 1.5], [0.1, 0.2])
    with pytest.raises(DataError, match="differ in length"):
        metrics.expected_auc([0.1, 0.5], [0.1])


@pytest.mark.parametrize("bins", [0, -1])
def test_a_calibration_error_without_bins_is_refused(bins):
    with pytest.raises(DataError, match=f"metrics.bins={bins} must be >= 1"):
        metrics.ece(LABELS, P, bins)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(DataError, match=r"metrics.threshold=\S+ must lie in \[0, 1\]"):
        metrics.classification_report(LABELS, P, threshold)


@pytest.mark.parametrize("k", [0, -1])
def test_a_list_of_no_depth_is_refused(k):
    with pytest.raises(DataError, match=f"metrics.ks: k={k} must be >= 1"):
        metrics.evaluate(log(LABELS, P), FUNNEL, ks=(k,))


def test_a_gain_that_is_negative_nan_or_of_other_rows_is_refused():
    ranked = lists.RankedLists(GROUP, P)
    for gain, message in (([-1] * 6, "weight must be >= 0"), ([np.nan] * 6, "not finite"), ([1] * 5, "gain has 5")):
        with pytest.raises(DataError, match=message):
            lists.ndcg(ranked, gain, 3)
    with pytest.raises(DataError, match=r"must lie in \[0, 1\]"):
        lists.expected_count(ranked, [2.0] * 6, 3)


def test_an_extra_column_of_other_rows_is_refused():
    with pytest.raises(DataError, match="grade has 7 rows but the log has 6"):
        metrics.evaluate({**log(LABELS, P), "grade": np.ones(7)}, FUNNEL)


def test_a_baseline_without_a_rate_is_refused():
    with pytest.raises(DataError, match="score has nothing for 'click'; it has klick"):
        metrics.score_metrics(log(LABELS, P), FUNNEL, {"klick": np.array(P)})


def test_levels_whose_probabilities_do_not_add_up_are_refused():
    funnel = TaskFunnel.from_config({"stars": {"kind": "ordinal", "levels": [1, 2]}})
    columns = {"request": np.arange(2), "stars": np.array([0, 1])}
    columns |= {"p_stars[1]": np.array([0.5, 0.5]), "p_stars[2]": np.array([0.5, 0.9])}
    with pytest.raises(DataError, match=r"stars: probabilities of row 1 add up to 1.4, but must to 1"):
        metrics.evaluate(columns, funnel)


@pytest.mark.parametrize("kind", [metrics.ClusterSums, metrics.ClusterPlacements])
def test_parts_of_different_clusters_are_refused(kind):
    parts = [np.ones(3)] * (len(kind.__dataclass_fields__) - 1) + [np.ones(2)]
    with pytest.raises(DataError, match="differ in length"):
        kind(*parts)


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
def test_a_p_value_outside_the_unit_interval_is_refused(wrong):
    with pytest.raises(DataError, match=r"a p-value is .*must lie in \[0, 1\]"):
        metrics.holm([0.1, wrong, float("nan")])
