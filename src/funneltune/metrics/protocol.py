"""Every number of a run with its protocol: which rows, which averaging, how many groups were left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from funneltune.errors import DataError
from funneltune.funnel import Task, TaskFunnel
from funneltune.metrics import calibration, discrimination, levels, lists, regression
from funneltune.metrics.classification import classification_report
from funneltune.metrics.spaces import (
    Columns,
    Scorer,
    Space,
    column,
    conditional,
    has_lists,
    has_oracle,
    joint,
    observed_rows,
    overall_score,
    probability,
    ranking_score,
    same_rows,
    score_of,
    spaces,
)
from funneltune.metrics.ties import Floats, checked_scores

Entry = dict[str, Any]
Metrics = dict[str, Entry]

BANDS = ("low", "middle-low", "middle-high", "high")
"""Words whose order is not that of their letters."""
LARGEST_SLICING = 100
"""A slice column with more distinct values is an identifier, not a slice."""


def evaluate(
    columns: Columns,
    funnel: TaskFunnel,
    ks: Sequence[int] = (10,),
    threshold: float | Mapping[str, float] = 0.5,
    slices: Sequence[str] = (),
    bins: int = 15,
) -> Metrics:
    """All metrics of predictions on a split: `{rate}/{metric}` to {"value", "protocol"}.

    Each conditional rate (`cvr`) is measured where it is observed, each joint one (`ctcvr`) on all rows; a task that
    is not binary where it is observed, by metrics of its own kind (`rating/qwk`, `spend/rmse`). Where the log has an
    oracle, `expected_auc`, `expected_log_loss`, `expected_ece` and `predicted_over_true` are measured on every row:
    `cvr_entire/expected_auc`. A value that is undefined is None, and its protocol says why. With a `grade` column,
    `grade/ndcg@k` ranks by the expected number of events. Requests of single rows have no list metrics.

    Args:
        columns: `request`, labels by task name, `p_*` per task; optional `user`, `grade`, `oracle_p_*`, slice columns.
        funnel: The tasks.
        ks: Depths of NDCG, recall and expected events.
        threshold: p at and above which a row is called positive; one for all rates or one per rate (else 0.5).
        slices: Columns whose values each get AUC and log loss of their own: `ctr/auc[item_cold=1]`.
        bins: Bins of the calibration error.

    Raises:
        DataError: A column is missing, a label not 0 or 1, a probability not finite or outside [0, 1].
    """
    found: Metrics = {}
    same_rows(columns)
    every = spaces(columns, funnel)
    request, ranks = column(columns, "request"), has_lists(columns)
    for space in every:
        p = probability(columns, funnel, space)
        _separation(found, columns, funnel, space, p)
        _calibration(found, space, p[space.rows], bins)
        if has_oracle(columns, funnel, space.task):
            _expected_calibration(found, space, probability(columns, funnel, space, "oracle_p_"), p, bins)
        _classification(found, space, p[space.rows], threshold)
        _slices(found, columns, space, p, slices)
        if space.joint and ranks:
            _ranking(found, columns, funnel, space, lists.RankedLists(request, p), ks)
    for task in funnel.tasks:
        if not task.binary:
            (_levels if task.has_levels else _regression)(found, columns, funnel, task)
    if "grade" in columns and ranks:
        ranked_by = " + ".join(f"p_{task.joint}" for task in funnel.binary) or f"expected {funnel.tasks[0].name}"
        _graded(found, columns, lists.RankedLists(request, ranking_score(columns, funnel)), ks, ranked_by)
    return found


def ceiling(
    columns: Columns,
    funnel: TaskFunnel,
    ks: Sequence[int] = (10,),
    threshold: float | Mapping[str, float] = 0.5,
    slices: Sequence[str] = (),
    bins: int = 15,
) -> Metrics:
    """The same metrics of the oracle as predictor: what no model beats but by luck. Empty where there is no oracle; of
    what comes next there is none.
    """
    funnel = funnel.logged
    if not all(task.binary and has_oracle(columns, funnel, task) for task in funnel.tasks):
        return {}
    truth = {name: values for name, values in columns.items() if not name.startswith("p_")}
    for task in funnel.tasks:
        truth[f"p_{task.conditional}"] = conditional(columns, task, "oracle_p_")
        truth[f"p_{task.joint}"] = joint(columns, funnel, task, "oracle_p_")
    return evaluate(truth, funnel, ks, threshold, slices, bins)


def score_metrics(columns: Columns, funnel: TaskFunnel, score: Scorer, ks: Sequence[int] = (10,)) -> Metrics:
    """The metrics that need no probability, of one score for every task or of one per rate: a baseline's row."""
    same_rows(columns, {"score": score})
    request, ranks = column(columns, "request"), has_lists(columns)
    found: Metrics = {}
    for space in spaces(columns, funnel):
        s = score_of(score, space)
        _separation(found, columns, funnel, space, s)
        if space.joint and ranks:
            _ranking(found, columns, funnel, space, lists.RankedLists(request, s), ks)
    if "grade" in columns and ranks:
        _graded(found, columns, lists.RankedLists(request, overall_score(score, funnel)), ks, "score")
    return found


def entry(value: float, reason: str = "", **protocol: Any) -> Entry:
    """A value with its protocol; NaN becomes None together with the reason."""
    defined = math.isfinite(value)
    if not defined:
        protocol["reason"] = reason or "undefined"
    return {"value": float(value) if defined else None, "protocol": protocol}


def _rows(space: Space) -> dict[str, Any]:
    return {"rows": space.name, "n": len(space.rows), "positives": int(space.label.sum())}


def _one_class(space: Space) -> str:
    if not len(space.rows):
        return "no rows"
    return "every label is 1" if space.label.all() else "every label is 0"


def _separation(found: Metrics, columns: Columns, funnel: TaskFunnel, space: Space, score: Floats) -> None:
    """AUC in its forms; `score` has every row of the log."""
    rows, own = _rows(space), score[space.rows]
    why = _one_class(space)
    found[f"{space.rate}/auc"] = entry(
        discrimination.auc(space.label, own), why, **rows, averaging="pairs of rows, ties one half"
    )
    found[f"{space.rate}/pr_auc"] = entry(
        discrimination.pr_auc(space.label, own), why, **rows, averaging="precision weighted by recall gained"
    )
    for unit in ("request", "user"):
        if unit in columns:
            grouped = discrimination.grouped_auc(space.label, own, column(columns, unit)[space.rows])
            found[f"{space.rate}/gauc_{unit}"] = entry(
                grouped.value,
                f"no {unit} has both classes",
                **rows,
                averaging=f"AUC per {unit}, weighted by its rows",
                groups=grouped.groups,
                groups_skipped=grouped.skipped,
                n_counted=grouped.rows,
            )
    if has_oracle(columns, funnel, space.task):
        p_true = probability(columns, funnel, space, "oracle_p_")
        found[f"{space.entire}/expected_auc"] = entry(
            discrimination.expected_auc(p_true, score),
            "no rows" if not len(score) else "the oracle is sure of every row",
            **_every_row(p_true),
            averaging="each row a positive with weight p, a negative with weight 1 - p, p of the oracle",
        )


def _every_row(p_true: Floats) -> dict[str, Any]:
    return {"rows": "all impressions", "n": len(p_true), "positives": float(p_true.sum())}


def _calibration(found: Metrics, space: Space, p: Floats, bins: int) -> None:
    rows, why = _rows(space), _one_class(space)
    found[f"{space.rate}/log_loss"] = entry(
        calibration.log_loss(space.label, p), why, **rows, averaging="mean over rows, nats"
    )
    found[f"{space.rate}/normalised_entropy"] = entry(
        calibration.normalised_entropy(space.label, p), why, **rows, averaging="log loss over that of the base rate"
    )
    found[f"{space.rate}/ece"] = entry(
        calibration.ece(space.label, p, bins), why, **rows, averaging=f"{bins} bins of equal mass"
    )
    found[f"{space.rate}/predicted_over_observed"] = entry(
        calibration.predicted_over_observed(space.label, p), why, **rows, averaging="sum of p over positives"
    )


def _expected_calibration(found: Metrics, space: Space, p_true: Floats, p: Floats, bins: int) -> None:
    """Against the oracle, on every row of the log, whether its label is observed or not."""

    def put(name: str, value: float, averaging: str) -> None:
        why = "the oracle expects none" if len(p_true) else "no rows"
        found[f"{space.entire}/{name}"] = entry(value, why, **_every_row(p_true), averaging=averaging)

    put(
        "expected_log_loss",
        calibration.expected_log_loss(p_true, p),
        "mean over rows of the cross-entropy of p under the oracle's, nats",
    )
    put("expected_ece", calibration.expected_ece(p_true, p, bins), f"{bins} bins of equal mass, against the oracle's p")
    put("predicted_over_true", calibration.predicted_over_true(p_true, p), "sum of p over that of the oracle's")


def _classification(found: Metrics, space: Space, p: Floats, threshold: float | Mapping[str, float]) -> None:
    cut = threshold.get(space.rate, 0.5) if isinstance(threshold, Mapping) else threshold
    report = classification_report(space.label, p, cut)
    counts = {"threshold": cut, "predicted_positives": int(report["predicted_positives"])}
    for name in ("precision", "recall", "f1", "accuracy", "mcc"):
        why = "nothing is predicted positive" if name == "precision" and report["support"] else _one_class(space)
        found[f"{space.rate}/{name}"] = entry(report[name], why, **_rows(space), **counts)


def _ranking(
    found: Metrics, columns: Columns, funnel: TaskFunnel, space: Space, ranked: lists.RankedLists, ks: Sequence[int]
) -> None:
    positives = ranked.total(space.label)
    flat = int((lists.indifferent(ranked, space.label) & (positives > 0)).sum())
    # Where no request has both classes, every order gets the same value: it says nothing of the score.
    told = flat < int((positives > 0).sum())
    why = "no request has both classes" if flat else "no request has a positive"

    def put(name: str, per_request: lists.RequestMean, why: str = why, told: bool = told, **more: Any) -> None:
        found[f"{space.rate}/{name}"] = entry(
            per_request.mean if told else math.nan,
            why,
            **_rows(space),
            averaging="mean over requests, ties by expectation",
            groups=ranked.n_requests,
            groups_skipped=int((~per_request.counted).sum()),
            **more,
        )

    put("mrr", lists.reciprocal_rank(ranked, space.label))
    for k in ks:
        put(f"ndcg@{k}", lists.ndcg(ranked, space.label, k), gain="label", groups_indifferent=flat)
        put(f"recall@{k}", lists.recall(ranked, space.label, k))
        if space.task is funnel.binary[-1] and has_oracle(columns, funnel, space.task):
            p_true = joint(columns, funnel, space.task, "oracle_p_")
            put(f"expected_{space.task.name}s@{k}", lists.expected_count(ranked, p_true, k), "no rows", told=True)


def _levels(found: Metrics, columns: Columns, funnel: TaskFunnel, task: Task) -> None:
    """Of an ordinal or multiclass task, on the rows where it is observed."""
    rows, words = observed_rows(columns, funnel, task)
    label = levels.checked_levels(column(columns, task.name)[rows], task)
    p = levels.probabilities(columns, task, rows)
    shared = {"rows": words, "n": len(rows), "levels": len(task.levels)}
    likeliest = levels.likeliest(p)

    def put(name: str, value: float, averaging: str) -> None:
        why = "no rows" if not len(rows) else f"every label is {task.levels[label[0]]}"
        found[f"{task.rate}/{name}"] = entry(value, why, **shared, averaging=averaging)

    def mean(values: Floats) -> float:
        return float(values.mean()) if len(values) else math.nan

    put("accuracy", mean((likeliest == label).astype(np.float64)), "share of rows whose likeliest level came")
    put("macro_f1", levels.macro_f1(label, likeliest), "mean over levels")
    put("log_loss", mean(levels.row_level_losses(label, p)), "mean over rows, nats")
    if task.kind == "ordinal":
        median = levels.median_level(p)
        put("mae", mean(np.abs(label - median).astype(np.float64)), "mean over rows of |level - predicted median|")
        put("qwk", levels.quadratic_weighted_kappa(label, median, len(task.levels)), "of the predicted median")
        put("rps", mean(levels.ranked_probability_scores(label, p)), "mean over rows, 0 is perfect")


def _regression(found: Metrics, columns: Columns, funnel: TaskFunnel, task: Task) -> None:
    """Of a number, on the rows where it is observed, in its own unit."""
    rows, words = observed_rows(columns, funnel, task)
    value = checked_scores(column(columns, task.name)[rows], task.name)
    mean = checked_scores(column(columns, task.predicted[0])[rows], task.predicted[0])
    for name in ("rmse", "mse", "mae", "r2", "pearson", "spearman"):
        why = "no rows" if not len(rows) else "label or prediction is constant"
        found[f"{task.rate}/{name}"] = entry(
            getattr(regression, name)(value, mean), why, rows=words, n=len(rows), averaging="over rows"
        )


def _graded(found: Metrics, columns: Columns, ranked: lists.RankedLists, ks: Sequence[int], ranked_by: str) -> None:
    """NDCG on graded judgments: once over every query that has a gain, once without those whose grades are all equal.

    A query whose grades are all equal scores 1 under any order. It counts in `ndcg@k`, as in published numbers, and is
    left out of `ndcg_discriminating@k`. A query with no gain at all is left out of both.
    """
    grade = checked_scores(column(columns, "grade"), "grade")
    lowest = float(grade.min()) if len(grade) else 0.0
    gain = lists.exponential_gain(grade, lowest)
    flat = lists.indifferent(ranked, gain)
    for k in ks:
        every = lists.ndcg(ranked, gain, k)
        some = lists.RequestMean(np.where(flat, np.nan, every.values))
        for name, per_request in (("ndcg", every), ("ndcg_discriminating", some)):
            found[f"grade/{name}@{k}"] = entry(
                per_request.mean,
                "no request has a gain" if not every.counted.any() else "every request's grades are all equal",
                rows="all impressions",
                n=ranked.rows,
                averaging="mean over requests, ties by expectation",
                gain=f"2^(grade - {lowest:g}) - 1",
                ranked_by=ranked_by,
                groups=ranked.n_requests,
                groups_skipped=int((~per_request.counted).sum()),
                groups_indifferent=int((flat & every.counted).sum()),
            )


def _reading_order(value: Any) -> tuple[Any, ...]:
    """Numbers by size, words by letter, bands as they follow one another, `other` last."""
    if isinstance(value, str):
        return (1, BANDS.index(value) - len(BANDS) if value in BANDS else int(value == "other"), value)
    return (0, value)


def _slices(found: Metrics, columns: Columns, space: Space, p: Floats, names: Sequence[str]) -> None:
    measures: dict[str, Callable[[Floats, Floats], float]] = {
        "auc": discrimination.auc,
        "log_loss": calibration.log_loss,
    }
    for name in names:
        of_row = column(columns, name)[space.rows].tolist()
        distinct = sorted(set(of_row), key=_reading_order)
        if len(distinct) > LARGEST_SLICING:
            raise DataError(
                f"metrics.slices: column {name!r} has {len(distinct)} distinct values; a slice column must have at "
                f"most {LARGEST_SLICING}, so bin it first."
            )
        place = {value: number for number, value in enumerate(distinct)}
        code = np.fromiter(map(place.__getitem__, of_row), dtype=np.int64, count=len(of_row))
        for number, value in enumerate(distinct):
            inside = code == number
            label, q = space.label[inside], p[space.rows][inside]
            for metric, measure in measures.items():
                found[f"{space.rate}/{metric}[{name}={value}]"] = entry(
                    measure(label, q),
                    "one class only",
                    rows=f"{space.name}, {name}={value}",
                    n=int(inside.sum()),
                    positives=int(label.sum()),
                )
