"""Verdicts: a pair of runs, or a run and its baselines, held against each other metric by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import DataError
from funneltune.metrics.clusters import ClusterPlacements, Clusters, ClusterSums, ClusterTotals
from funneltune.metrics.differences import OTHER_ROWS, difference
from funneltune.metrics.formulas import formula_of
from funneltune.metrics.intervals import Interval, hedges_g, holm
from funneltune.metrics.statistics import AUC_PARTS, MEAN_PARTS, UNITS, Arrays
from funneltune.metrics.ties import Floats

Verdict = Literal["better", "worse", "no claim"]

LOWER_IS_BETTER = (
    "log_loss",
    "expected_log_loss",
    "normalised_entropy",
    "ece",
    "expected_ece",
    "rps",
    "rmse",
    "mse",
    "mae",
)
NO_DIRECTION = ("predicted_over_observed", "predicted_over_true")
"""Metrics that are best at 1: a difference is shown, but neither side of it is better."""
BEST_AT_ONE = "best at 1"
DISAGREE = "DeLong and bootstrap disagree"


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
    effect: float | None = None
    """Hedges' g: the difference in standard deviations of a single run over seeds. None with one run a side."""
    bootstrap_low: float | None = None
    """The two-level bootstrap beside clustered DeLong, for the AUC that a study is about; None elsewhere."""
    bootstrap_high: float | None = None
    bootstrap_p: float | None = None
    seeds: int = 0
    """Pairs of runs: seeds, or folds."""
    folds: int = 0
    """Different folds among them; 0 where the log was not cut into folds."""
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
    """Whether more is better, from the metric's name; of `NO_DIRECTION`, ask `has_direction` first."""
    return _bare(metric) not in LOWER_IS_BETTER


def has_direction(metric: str) -> bool:
    """Whether more, or less, of a metric is better at all."""
    return _bare(metric) not in NO_DIRECTION


def paired_interval(
    first: Sequence[Mapping[str, NDArray]],
    second: Sequence[Mapping[str, NDArray]],
    key: str,
    *,
    bootstrap: bool = False,
    logs: Sequence[str] = (),
    test_over_train: float = 0.0,
    drawn: tuple[Sequence[Floats], Sequence[Floats]] | None = None,
) -> Interval:
    """First minus second on one metric, one entry per seed: clustered DeLong for an AUC, bootstrap for a mean.

    Args:
        first: One side's statistics, as `compact` gives them.
        second: The other's.
        key: The metric.
        bootstrap: The two-level bootstrap for an AUC as well.
        logs: The fingerprint of each run's log, where runs may differ in it.
        test_over_train: Test rows over training rows, for runs that were tested on different rows (`seed_difference`).
        drawn: `resample`d values of both sides, where they are at hand.

    Raises:
        DataError: The statistics do not hold the metric, or a pair was tested on different rows.
    """
    for a, b in zip(first, second, strict=False):
        # a baseline's have no units of their own
        if any(not _same(a[unit], b[unit]) for unit in UNITS if unit in a and unit in b):
            raise DataError(OTHER_ROWS)
    left, right = clusters_in(first, key), clusters_in(second, key)
    area = bool(left) and isinstance(left[0], ClusterPlacements)
    known = _rows(first if any(unit in s for s in first for unit in UNITS) else second, logs)
    return difference(
        left,
        right,
        delong=area and not bootstrap,
        known=known,
        test_over_train=test_over_train,
        drawn=drawn,
    )


def clusters_in(side: Sequence[Mapping[str, NDArray]], key: str) -> list[Clusters]:
    """What a metric is made of, run by run. Raises DataError where the statistics do not hold it."""
    found: list[Clusters] = []
    for statistics in side:
        if f"{key}:positives" in statistics:
            found.append(ClusterPlacements(*_parts(statistics, key, AUC_PARTS)))
        elif f"{key}:sum" in statistics:
            found.append(ClusterSums(*_parts(statistics, key, MEAN_PARTS)))
        elif (formula := formula_of(key)) is not None and f"{key}:{formula.parts[0]}" in statistics:
            found.append(ClusterTotals(formula, np.stack(_parts(statistics, key, formula.parts), axis=1)))
        else:
            raise DataError(
                f"compare: metric {key!r} is not in the statistics; there are: {', '.join(metric_keys(statistics))}."
            )
    return found


def pair(
    first: Sequence[Mapping[str, NDArray]],
    second: Sequence[Mapping[str, NDArray]],
    metric: str,
    cell: str,
    baseline: str,
    *,
    confirm: bool = False,
    logs: Sequence[str] = (),
    test_over_train: float = 0.0,
    drawn: tuple[Sequence[Floats], Sequence[Floats]] | None = None,
) -> Comparison:
    """`cell` (first) against `baseline` (second) on one metric, one entry per seed; `judge` gives the verdict.

    `confirm` holds an AUC's clustered DeLong against the two-level bootstrap: a claim then needs both. The rest is as
    for `paired_interval`.
    """
    given: dict[str, Any] = {"logs": logs, "test_over_train": test_over_train, "drawn": drawn}
    interval = paired_interval(first, second, metric, **given)
    values = [[clusters.value for clusters in clusters_in(side, metric)] for side in (first, second)]
    found = Comparison(
        metric=metric,
        baseline=baseline,
        cell=cell,
        verdict="no claim",
        value=finite(float(np.mean(values[0]))),
        baseline_value=finite(float(np.mean(values[1]))),
        difference=finite(interval.estimate),
        low=finite(interval.low),
        high=finite(interval.high),
        p_value=finite(interval.p_value),
        detectable=finite(interval.detectable),
        effect=finite(hedges_g(*values)),
        seeds=len(first),
        clusters=interval.clusters,
        method=interval.method,
    )
    if not confirm or not interval.method.startswith("clustered DeLong"):
        return found
    again = paired_interval(first, second, metric, bootstrap=True, **given)
    return replace(
        found,
        bootstrap_low=finite(again.low),
        bootstrap_high=finite(again.high),
        bootstrap_p=finite(again.p_value),
    )


def judge(family: Sequence[Comparison], alpha: float = 0.05) -> list[Comparison]:
    """Verdicts of comparisons that are read together, Holm-corrected; one that has a note already claims nothing.

    Where a bootstrap stands beside an interval, its p-values are corrected as a family too, and a claim needs both.
    """
    adjusted = holm([_or_nan(c.p_value) for c in family])
    seconds = holm([_or_nan(c.p_value if c.bootstrap_p is None else c.bootstrap_p) for c in family])
    judged = []
    for comparison, p, second in zip(family, adjusted, seconds, strict=True):
        verdict: Verdict = "no claim"
        note = comparison.note or ("" if has_direction(comparison.metric) else BEST_AT_ONE)
        if not note and math.isnan(p):
            note = "the spread is unknown"
        if not note and (p < alpha) != (second < alpha):
            note = DISAGREE
        if not note and p < alpha and comparison.difference:
            verdict = "better" if (comparison.difference > 0) == higher_is_better(comparison.metric) else "worse"
        judged.append(replace(comparison, verdict=verdict, note=note, p_holm=finite(float(p))))
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


def _bare(metric: str) -> str:
    return metric.partition("/")[2].partition("[")[0]


def _parts(statistics: Mapping[str, NDArray], key: str, parts: Sequence[str]) -> list[NDArray]:
    return [np.asarray(statistics[f"{key}:{part}"], dtype=np.float64) for part in parts]


def _same(one: NDArray, other: NDArray) -> bool:
    return one is other or np.array_equal(one, other)


def _rows(side: Sequence[Mapping[str, NDArray]], logs: Sequence[str]) -> list[tuple[str, int]]:
    """A number for each different set of test requests (or users), with the log that they are of."""
    seen: list[Mapping[str, NDArray]] = []
    found = []
    for index, statistics in enumerate(side):
        units = {unit: statistics[unit] for unit in UNITS if unit in statistics}
        alike = (n for n, other in enumerate(seen) if units.keys() == other.keys() and _all_same(units, other))
        number = next(alike, len(seen))
        if number == len(seen):
            seen.append(units)
        found.append((logs[index] if logs else "", number))
    return found


def _all_same(one: Mapping[str, NDArray], other: Mapping[str, NDArray]) -> bool:
    return all(_same(one[unit], other[unit]) for unit in one)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def finite(value: float) -> float | None:
    """The number, or None where it is undefined."""
    return float(value) if math.isfinite(value) else None
