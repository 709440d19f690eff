"""The baseline cell against every other, metric by metric: difference, interval, Holm's p, verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from funneltune.errors import ConfigError, DataError, RunError
from funneltune.metrics import Comparison, judge, metric_keys, pair, read_statistics, seed_difference
from funneltune.records import RecordFolder, StoredRun
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
        baseline: The cell to compare with; the study's own by default. Without any there is nothing to compare.
        metrics: Metric keys; the study's own by default, or else the quality columns of the table.
        alpha: Level of the family of pairs.

    Raises:
        ConfigError: The baseline is no cell of the study.
    """
    plan = _plan(study)
    name = baseline or plan.get("baseline")
    if name is None or len(study.cells) < 2:
        return []
    cells = {cell: _by_seed(runs) for cell, runs in study.cells.items()}
    if name not in cells:
        if baseline is None:
            return []  # the study's own baseline has not run yet
        raise ConfigError(f"baseline={baseline} is no cell here; cells: {', '.join(cells)}.")
    loaded = {run: _load(run) for runs in cells.values() for run in runs.values()}
    found: list[Comparison] = []
    for metric in _metrics(study, plan, metrics):
        family = [_pair(cells[cell], cells[name], loaded, metric, cell, name) for cell in cells if cell != name]
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


def _pair(
    runs: Mapping[int, StoredRun],
    others: Mapping[int, StoredRun],
    loaded: Loaded,
    metric: str,
    cell: str,
    baseline: str,
) -> Comparison | None:
    """One pair on one metric before its family is judged; None where no common seed has the metric."""
    seeds = [
        seed
        for seed in sorted(set(runs) & set(others))
        if runs[seed].record.value(metric) is not None and others[seed].record.value(metric) is not None
    ]
    if not seeds:
        return None
    first = [runs[seed].record.value(metric) or 0.0 for seed in seeds]
    second = [others[seed].record.value(metric) or 0.0 for seed in seeds]
    one, other = sum(first) / len(seeds), sum(second) / len(seeds)
    plain = Comparison(
        metric=metric,
        baseline=baseline,
        cell=cell,
        verdict="no claim",
        value=one,
        baseline_value=other,
        difference=one - other,
        seeds=len(seeds),
    )
    left, right = ([loaded[side[seed]] for seed in seeds] for side in (runs, others))
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
