"""How well ways of finding items find what was judged or clicked: over the whole catalogue, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data import Asked
from funneltune.decisions.candidates.protocol import Candidates, Found, require_count
from funneltune.decisions.requests import logged_requests
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.metrics import ClusterSums, Comparison, contrast, judge, pair
from funneltune.metrics.lists import discounts, exponential_gain
from funneltune.records import DecisionRecord
from funneltune.runs.identity import git_commit, versions

Floats = NDArray[np.float64]
CURVE = "recall by length"
TOP, SPLITS = 10, ("validation", "test")


@dataclass(frozen=True)
class Judged:
    """One request's known items: the rest of the catalogue was never judged."""

    items: NDArray[np.int64]
    gains: Floats
    """2^(grade - lowest) - 1 of a judged log, else the first binary task's label."""
    relevant: NDArray[np.bool_]
    """Where the first binary task is true."""


def measure_retrieval(
    scorer: Scorer,
    ways: Mapping[str, Candidates],
    split: str = "test",
    k: int = 100,
    most: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> DecisionRecord:
    """Each way's lists for a split's requests, held against what is known of them; the last way against each other.

    NDCG@10 counts an item that was never judged as worth nothing, so a way is held to finding the judged ones;
    condensed NDCG@10 (Sakai 2007) leaves such items out of the list instead. Recall is the share of a request's
    relevant items among the first k. Intervals are of a bootstrap over requests, paired in differences; Holm corrects
    over the other ways, metric by metric.

    Args:
        scorer: The run whose log is used.
        ways: By name; the last is held against the others.
        split: `validation` or `test`.
        k: Length of the lists.
        most: Only the first so many requests.
        settings: What the record says was asked for, beside this.

    Raises:
        ConfigError: if `split` is neither, `k` is below 10, there is no way, or the log has nothing to find.
    """
    require_count(k)
    if split not in SPLITS:
        raise ConfigError(f"split={split!r} must be one of {', '.join(SPLITS)}; training rows were learnt from.")
    if k < TOP:
        raise ConfigError(f"k={k} must be >= {TOP}, the places that NDCG looks at.")
    if not ways:
        raise ConfigError("ways: there is none to measure; name one or more.")
    asked, judged = known(scorer, split, most)
    lists = {name: way.find(asked, k) for name, way in ways.items()}
    values = {name: measured(found, judged, k) for name, found in lists.items()}
    if not any(np.isfinite(one).any() for one in next(iter(values.values())).values()):
        raise ConfigError(f"split={split}: no request has an item that was clicked or judged above the lowest grade.")
    numbers = _numbers(values, len(asked))
    family = _compared(values)
    columns = ("metric", "way", "against", "difference", "low", "high", "p_holm", "verdict")
    rows = [
        [c.metric.partition("/")[2], c.cell, c.baseline, c.difference, c.low, c.high, c.p_holm, c.verdict]
        for c in family
    ]
    curves = {name: recall_curve(found, judged, k).round(6).tolist() for name, found in lists.items()}
    return DecisionRecord(
        verb="retrieve",
        run=str(scorer.folder),
        settings={"split": split, "k": k, "ways": list(ways), "requests": len(asked), **(settings or {})},
        numbers=numbers,
        tables={
            "against the others": {"columns": list(columns), "rows": rows},
            CURVE: {
                "columns": ["k", *curves],
                "rows": [list(row) for row in zip(range(1, k + 1), *curves.values(), strict=True)],
            },
        },
        notes=[
            f"{len(scorer.catalogue):,} items compete; a request has {np.mean([len(j.items) for j in judged]):.1f} "
            "known ones. Any other item counts as worth nothing, whether it is or not; condensed NDCG leaves it out.",
        ],
        git_commit=git_commit(),
        versions=versions(),
    )


def known(scorer: Scorer, split: str, most: int | None = None) -> tuple[list[Asked], list[Judged]]:
    """A split's requests without the features of their logged rows, and what is known of each.

    Raises:
        ConfigError: if the log has no binary task.
    """
    data = scorer.assembly.data
    store = data.store
    if not data.funnel.binary:
        raise ConfigError("ways: what is relevant is a binary task's label, and data.tasks has none.")
    label = store.column(data.funnel.binary[0].name)
    grade = store.column("grade") if store.has("grade") else None
    lowest = float(np.min(grade)) if grade is not None else 0.0
    asked, judged = [], []
    for request in logged_requests(scorer, split, most):
        assert request.items is not None
        rows = request.rows
        gains = label[rows].astype(np.float64) if grade is None else exponential_gain(grade[rows], lowest)
        asked.append(replace(request.asked, columns={}))
        judged.append(_distinct(request.items, np.asarray(gains, dtype=np.float64), label[rows] == 1))
    store.release()
    return asked, judged


def _distinct(items: NDArray[np.int64], gains: Floats, relevant: NDArray[np.bool_]) -> Judged:
    """An item that was shown twice counts once, at its best."""
    distinct, place = np.unique(items, return_inverse=True)
    best, any_ = np.zeros(len(distinct)), np.zeros(len(distinct), dtype=bool)
    np.maximum.at(best, place, np.nan_to_num(gains))
    np.logical_or.at(any_, place, relevant)
    return Judged(distinct, best, any_)


def measured(found: Found, judged: Sequence[Judged], k: int) -> dict[str, Floats]:
    """Metric -> a value per request, NaN where it has none (nothing relevant, no gain)."""
    values = {name: np.full(len(judged), np.nan) for name in (f"ndcg@{TOP}", f"condensed_ndcg@{TOP}", f"recall@{k}")}
    weight = discounts(TOP)
    for row, (numbers, one) in enumerate(zip(found.numbers, judged, strict=True)):
        there, gain, hit = _looked_up(numbers, one)
        ideal = float(np.sort(one.gains)[::-1][:TOP] @ weight[: len(one.gains)])
        if ideal > 0:
            values[f"ndcg@{TOP}"][row] = gain[:TOP] @ weight[: len(gain[:TOP])] / ideal
            kept = gain[there][:TOP]
            values[f"condensed_ndcg@{TOP}"][row] = kept @ weight[: len(kept)] / ideal
        if one.relevant.any():
            values[f"recall@{k}"][row] = hit[:k].sum() / one.relevant.sum()
    return values


def recall_curve(found: Found, judged: Sequence[Judged], k: int) -> Floats:
    """(k,): mean recall at 1 .. k over the requests with a relevant item."""
    curves = [
        np.cumsum(_looked_up(numbers, one)[2][:k]) / one.relevant.sum()
        for numbers, one in zip(found.numbers, judged, strict=True)
        if one.relevant.any()
    ]
    return np.asarray(np.mean(curves, axis=0)) if curves else np.zeros(k)


def _looked_up(numbers: NDArray[np.int64], one: Judged) -> tuple[NDArray[np.bool_], Floats, NDArray[np.bool_]]:
    """Of each place of a list: whether its item is known, its gain, whether it is relevant."""
    place = np.minimum(np.searchsorted(one.items, numbers), len(one.items) - 1)
    there = one.items[place] == numbers
    return there, np.where(there, one.gains[place], 0.0), there & one.relevant[place]


def _clusters(values: Floats) -> ClusterSums:
    counted = np.isfinite(values)
    return ClusterSums(np.where(counted, values, 0.0), counted.astype(np.float64))


def _numbers(values: Mapping[str, Mapping[str, Floats]], requests: int) -> dict[str, dict[str, Any]]:
    told = {}
    for way, metrics in values.items():
        for metric, of_requests in metrics.items():
            interval = contrast([[_clusters(of_requests)]], [1.0])
            told[f"{way}/{metric}"] = {
                "value": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "protocol": {
                    "averaging": "mean over requests",
                    "requests": interval.clusters,
                    "skipped": requests - interval.clusters,
                    "interval": interval.method,
                },
            }
    return told


def _compared(values: Mapping[str, Mapping[str, Floats]]) -> list[Comparison]:
    """The last way against each other one, Holm over these within each metric."""
    *others, last = values
    judged: list[Comparison] = []
    for metric in values[last]:
        key = f"retrieval/{metric}"
        parts = {way: _clusters(values[way][metric]) for way in values}
        told = {way: {f"{key}:sum": one.sums, f"{key}:weight": one.weights} for way, one in parts.items()}
        judged.extend(judge([pair([told[last]], [told[other]], key, last, other) for other in others]))
    return judged
