"""Verdicts: a pair of runs, or a run and its baselines, held against each other metric by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import DataError
from funneltune.metrics.intervals import (
    ClusterPlacements,
    ClusterSums,
    Interval,
    auc_difference,
    holm,
    mean_difference,
)
from funneltune.metrics.statistics import AUC_PARTS, MEAN_PARTS, Arrays

Verdict = Literal["better", "worse", "no claim"]

LOWER_IS_BETTER = ("log_loss", "normalised_entropy", "ece", "rps", "rmse", "mae")


@dataclass(frozen=True)
class Comparison:
    """One pair on one metric. `difference` is `cell` minus `baseline`; `verdict` speaks of `cell`."""

    metric: str
    baseline: str
    cell: str
    verdict: Verdict
    note: str = ""
    """Why there is no claim, or what the claim does not cover."""
    value: float | None = None
    baseline_value: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    detectable: float | None = None
    """The smallest difference that this design would find with 80% power."""
    seeds: int = 0
    clusters: int = 0
    method: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def metric_keys(statistics: Mapping[str, NDArray]) -> tuple[str, ...]:
    """The metrics that a run's statistics can compare, baselines' copies left out."""
    return tuple(dict.fromkeys(name.rpartition(":")[0] for name in statistics if ":" in name and "|" not in name))


def scorers(statistics: Mapping[str, NDArray]) -> tuple[str, ...]:
    """The baselines whose statistics lie beside the run's."""
    return tuple(dict.fromkeys(name.partition("|")[0] for name in statistics if "|" in name))


def of_scorer(statistics: Mapping[str, NDArray], scorer: str) -> Arrays:
    """A baseline's statistics under the run's own keys."""
    return {name.partition("|")[2]: values for name, values in statistics.items() if name.startswith(f"{scorer}|")}


def higher_is_better(metric: str) -> bool:
    """Whether more is better, from the metric's name."""
    return metric.partition("/")[2].partition("[")[0] not in LOWER_IS_BETTER


def paired_interval(
    first: Sequence[Mapping[str, NDArray]], second: Sequence[Mapping[str, NDArray]], key: str
) -> Interval:
    """First minus second on one metric, one entry per seed: clustered DeLong for an AUC, bootstrap for a mean.

    Raises:
        DataError: The statistics do not hold the metric, or a pair was tested on different rows.
    """
    for statistics in (*first, *second):
        if f"{key}:positives" not in statistics and f"{key}:sum" not in statistics:
            raise DataError(
                f"compare: metric {key!r} is not in the statistics; there are: {', '.join(metric_keys(statistics))}."
            )
    for a, b in zip(first, second, strict=False):
        shared = [unit for unit in ("request", "user") if unit in a and unit in b]  # a baseline's have neither
        if any(not np.array_equal(a[unit], b[unit]) for unit in shared):
            raise DataError(
                "compare: a pair was tested on different rows; test both on the same split of the same log."
            )
    if f"{key}:positives" in first[0]:
        return auc_difference(_placements(first, key), _placements(second, key))
    return mean_difference(_sums(first, key), _sums(second, key))


def pair(
    first: Sequence[Mapping[str, NDArray]],
    second: Sequence[Mapping[str, NDArray]],
    metric: str,
    cell: str,
    baseline: str,
) -> Comparison:
    """`cell` (first) against `baseline` (second) on one metric, one entry per seed; `judge` gives the verdict."""
    interval: Interval = paired_interval(first, second, metric)
    area = f"{metric}:positives" in first[0]
    values = [
        [p.auc for p in _placements(s, metric)] if area else [p.mean for p in _sums(s, metric)] for s in (first, second)
    ]
    return Comparison(
        metric=metric,
        baseline=baseline,
        cell=cell,
        verdict="no claim",
        value=_finite(float(np.mean(values[0]))),
        baseline_value=_finite(float(np.mean(values[1]))),
        difference=_finite(interval.estimate),
        low=_finite(interval.low),
        high=_finite(interval.high),
        p_value=_finite(interval.p_value),
        detectable=_finite(interval.detectable),
        seeds=interval.seeds,
        clusters=interval.clusters,
        method=interval.method,
    )


def judge(family: Sequence[Comparison], alpha: float = 0.05) -> list[Comparison]:
    """Verdicts of comparisons that are read together, Holm-corrected; one that has a note already claims nothing."""
    adjusted = holm([float("nan") if c.p_value is None else c.p_value for c in family])
    judged = []
    for comparison, p in zip(family, adjusted, strict=True):
        verdict: Verdict = "no claim"
        note = comparison.note
        if not note and math.isnan(p):
            note = "the spread is unknown"
        if not note and p < alpha and comparison.difference:
            verdict = "better" if (comparison.difference > 0) == higher_is_better(comparison.metric) else "worse"
        judged.append(replace(comparison, verdict=verdict, note=note, p_holm=_finite(float(p))))
    return judged


def against_baselines(
    statistics: Mapping[str, NDArray], run: str, metrics: Sequence[str], alpha: float = 0.05
) -> list[Comparison]:
    """One run held against every baseline scored on its rows, Holm-corrected within each metric.

    The interval covers which requests were drawn, not the seed: a claim is about this run, not about its method.
    """
    found: list[Comparison] = []
    for metric in metrics:
        family = []
        for scorer in scorers(statistics):
            other = of_scorer(statistics, scorer)
            if metric in metric_keys(statistics) and metric in metric_keys(other):
                family.append(pair([statistics], [other], metric, run, scorer))
        found.extend(judge(family, alpha))
    return found


def _placements(side: Sequence[Mapping[str, NDArray]], key: str) -> list[ClusterPlacements]:
    return [ClusterPlacements(*_parts(statistics, key, AUC_PARTS)) for statistics in side]


def _sums(side: Sequence[Mapping[str, NDArray]], key: str) -> list[ClusterSums]:
    return [ClusterSums(*_parts(statistics, key, MEAN_PARTS)) for statistics in side]


def _parts(statistics: Mapping[str, NDArray], key: str, parts: Sequence[str]) -> list[NDArray]:
    return [np.asarray(statistics[f"{key}:{part}"], dtype=np.float64) for part in parts]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
