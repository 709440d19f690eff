"""The baseline cell against every other, metric by metric: difference, interval, Holm's p, verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from funneltune.errors import ConfigError, DataError, RunError
from funneltune.metrics import Comparison, judge, metric_keys, of_scorer, pair, read_statistics, seed_difference
from funneltune.records import RecordFolder, StoredRun, number
from funneltune.reporting.columns import columns_of

NO_STATISTICS = "no statistics"
ONE_SEED = "one seed"
OTHER_ROWS = "tested on different rows"

Loaded = Mapping[StoredRun, Mapping[str, NDArray] | None]


def compare(
    study: RecordFolder,
    baseline: str | None = None,
    metrics: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> list[Comparison]:
    """Each cell held against the baseline on each metric, paired on seeds and test rows, headline metric first.

    Verdicts are Holm-corrected over the pairs of one metric. A claim needs at least two seeds: with one, the interval
    covers which requests were drawn but not what another seed would have given.

    Args:
        study: Records with the study they belong to.
        baseline: The cell to compare with, or a baseline that every run was scored beside (`trees`, `bm25`); the
            study's own by default. Without any there is nothing to compare.
        metrics: Metric keys; the study's own by default, or else the quality columns of the table.
        alpha: Level of the family of pairs.

    Raises:
        ConfigError: The baseline is no cell of the study, and no run was scored beside it.
    """
    plan = _plan(study)
    name = baseline or plan.get("baseline")
    if name is None:
        return []
    cells = {cell: _by_seed(runs) for cell, runs in study.cells.items()}
    scored = {scorer for runs in cells.values() for run in runs.values() for scorer in run.record.baselines}
    if name not in cells and name not in scored:
        if baseline is None:
            return []  # the study's own baseline has not run yet
        raise ConfigError(f"baseline={baseline} is no cell here; cells: {', '.join(cells)}.")
    loaded = {run: _load(run) for runs in cells.values() for run in runs.values()}
    found: list[Comparison] = []
    for metric in _metrics(study, plan, metrics):
        family = []
        for cell, runs in cells.items():
            if cell != name:
                other = (
                    _Side.of_cell(cells[name], loaded, metric)
                    if name in cells
                    else _Side.of_scorer(runs, loaded, metric, name)
                )
                family.append(_pair(_Side.of_cell(runs, loaded, metric), other, metric, cell, name))
        found.extend(judge([comparison for comparison in family if comparison is not None], alpha))
    return found


def headline(study: RecordFolder, comparisons: Sequence[Comparison]) -> str | None:
    """The metric that a study is about: the one it names, else the first compared. None without a study: all are."""
    if study.study is None:
        return None
    compared = list(dict.fromkeys(comparison.metric for comparison in comparisons))
    metric = _plan(study).get("metric")
    return metric if metric in compared else next(iter(compared), None)


def _plan(study: RecordFolder) -> Mapping[str, Any]:
    """What study.json says of the study itself: its name, baseline and metrics."""
    content = study.study or {}
    plan = content.get("study")
    return plan if isinstance(plan, Mapping) else content


def _metrics(study: RecordFolder, plan: Mapping[str, Any], asked: Sequence[str] | None) -> list[str]:
    if asked is not None:
        return list(asked)
    named = list(plan.get("metrics") or ())
    if not named:
        records = [run.record for run in study.runs if run.record.status == "finished"]
        named = [column.key for column in columns_of(records) if column.group == "quality"]
    first = plan.get("metric")
    return list(dict.fromkeys([*([first] if first else []), *named]))


def _by_seed(runs: Sequence[StoredRun]) -> dict[int, StoredRun]:
    return {run.record.seed: run for run in runs if run.record.status == "finished"}


def _load(run: StoredRun) -> Mapping[str, NDArray] | None:
    try:
        return read_statistics(run.statistics) if run.statistics else None
    except RunError:
        return None


@dataclass(frozen=True)
class _Side:
    """One side of a pair: its value and its statistics, seed by seed."""

    values: Mapping[int, float]
    statistics: Mapping[int, Mapping[str, NDArray] | None]

    @classmethod
    def of_cell(cls, runs: Mapping[int, StoredRun], loaded: Loaded, metric: str) -> _Side:
        values = {seed: run.record.value(metric) for seed, run in runs.items()}
        return cls(
            {seed: value for seed, value in values.items() if value is not None},
            {seed: loaded[run] for seed, run in runs.items()},
        )

    @classmethod
    def of_scorer(cls, runs: Mapping[int, StoredRun], loaded: Loaded, metric: str, scorer: str) -> _Side:
        """A baseline as it was scored on each run's own rows."""
        values = {seed: number(run.record.baselines.get(scorer, {}).get(metric)) for seed, run in runs.items()}
        found = {seed: loaded[run] for seed, run in runs.items()}
        return cls(
            {seed: value for seed, value in values.items() if value is not None},
            {seed: None if held is None else of_scorer(held, scorer) for seed, held in found.items()},
        )


def _pair(one: _Side, other: _Side, metric: str, cell: str, baseline: str) -> Comparison | None:
    """One pair on one metric before its family is judged; None where no common seed has the metric."""
    seeds = sorted(set(one.values) & set(other.values))
    if not seeds:
        return None
    first, second = ([side.values[seed] for seed in seeds] for side in (one, other))
    mean, mean_other = sum(first) / len(seeds), sum(second) / len(seeds)
    plain = Comparison(
        metric=metric,
        baseline=baseline,
        cell=cell,
        verdict="no claim",
        value=mean,
        baseline_value=mean_other,
        difference=mean - mean_other,
        seeds=len(seeds),
    )
    left, right = ([side.statistics[seed] for seed in seeds] for side in (one, other))
    held = [statistics for statistics in (*left, *right) if statistics is not None]
    if len(held) < 2 * len(seeds):
        return replace(plain, note=NO_STATISTICS)
    if not all(metric in metric_keys(statistics) for statistics in held):
        return _over_seeds(plain, first, second)
    try:
        found = pair([s for s in left if s is not None], [s for s in right if s is not None], metric, cell, baseline)
    except DataError:
        return replace(plain, note=OTHER_ROWS)
    return replace(found, note=ONE_SEED if len(seeds) == 1 else "")


def _over_seeds(plain: Comparison, first: Sequence[float], second: Sequence[float]) -> Comparison:
    """A metric that is no mean over requests (calibration error): the spread over seeds is all there is."""
    if plain.seeds == 1:
        return replace(plain, note=ONE_SEED)
    interval = seed_difference(first, second)
    return replace(
        plain,
        low=_defined(interval.low),
        high=_defined(interval.high),
        p_value=_defined(interval.p_value),
        detectable=_defined(interval.detectable),
        method=interval.method,
    )


def _defined(value: float) -> float | None:
    return value if value == value else None
