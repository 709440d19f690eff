"""A study's pairs of cells, metric by metric: difference, interval, Holm's p, verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError, DataError
from funneltune.metrics import Comparison, clusters_in, hedges_g, judge, pair, resample, seed_difference
from funneltune.metrics.comparison import finite
from funneltune.records import RecordFolder, StoredRun, number
from funneltune.reporting.columns import columns_of
from funneltune.reporting.held import Held
from funneltune.reporting.pairs import Pair, wanted_pairs
from funneltune.reporting.provenance import log_changed

NO_STATISTICS = "no statistics"
ONE_SEED = "one seed"
ONE_FOLD = "one fold"
OTHER_ROWS = "tested on different rows"
LOG_CHANGED = "the log changed"
SEEDS_ALONE = "over seeds alone"

Replicate = tuple[int, int | None]
"""A seed and a fold; the fold is None where the log was not cut into folds."""


def compare(
    study: RecordFolder,
    baseline: str | None = None,
    metrics: Sequence[str] | None = None,
    alpha: float = 0.05,
) -> list[Comparison]:
    """The pairs of a study on each metric, paired on seeds (and folds) and test rows, headline metric first.

    Verdicts are Holm-corrected over the pairs of one metric. A claim needs at least two runs of each side: with one,
    the interval covers which requests were drawn but not what another seed would have given. On the study's own metric
    an AUC's claim also needs the two-level bootstrap to agree with clustered DeLong.

    Args:
        study: Records with the study they belong to.
        baseline: What to hold every cell against: a cell, or a baseline that every run was scored beside (`trees`,
            `bm25`). By default what the study's `pairs` says (`wanted_pairs`); without any there is nothing to compare.
        metrics: Metric keys; the study's own by default, or else the quality columns of the table.
        alpha: Level of the family of pairs.

    Raises:
        ConfigError: The baseline is no cell of the study, and no run was scored beside it; or `pairs` is wrong.
    """
    plan = plan_of(study)
    cells = {cell: _by_replicate(runs) for cell, runs in study.cells.items()}
    pairs = _pairs(study, plan, cells, baseline)
    if not pairs:
        return []
    held = Held()
    found: list[Comparison] = []
    keys = _metrics(study, plan, metrics)
    for metric in keys:
        sides = _sides(pairs, cells, held, metric)
        confirmed = metric == (plan.get("metric") or keys[0])
        _draw(sides.values(), metric, confirmed)
        family = [
            _pair(sides[cell, ""], sides[(other, "") if other in cells else (cell, other)], metric, (cell, other), held)
            for cell, other in pairs
        ]
        found.extend(judge([comparison for comparison in family if comparison is not None], alpha))
        held.forget(metric)
    return found


def headline(study: RecordFolder, comparisons: Sequence[Comparison]) -> str | None:
    """The metric that a study is about: the one it names, else the first compared. None without a study: all are."""
    if study.study is None:
        return None
    compared = list(dict.fromkeys(comparison.metric for comparison in comparisons))
    metric = plan_of(study).get("metric")
    return metric if metric in compared else next(iter(compared), None)


def named_metrics(study: RecordFolder, whole: bool = False) -> list[str]:
    """The metrics that a study names, the one it is about first; `whole`: none where it leaves some to the table."""
    plan = plan_of(study)
    if whole and not plan.get("metrics"):
        return []
    first = plan.get("metric")
    return list(dict.fromkeys([*([first] if first else []), *(plan.get("metrics") or ())]))


def plan_of(study: RecordFolder) -> Mapping[str, Any]:
    """What study.json says of the study itself: its name, baseline, pairs and metrics."""
    content = study.study or {}
    plan = content.get("study")
    return plan if isinstance(plan, Mapping) else content


def _pairs(
    study: RecordFolder,
    plan: Mapping[str, Any],
    cells: Mapping[str, Mapping[Replicate, StoredRun]],
    baseline: str | None,
) -> list[Pair]:
    """The pairs whose both sides are there."""
    scored = list(dict.fromkeys(s for runs in cells.values() for run in runs.values() for s in run.record.baselines))
    if baseline is not None:
        if baseline not in cells and baseline not in scored:
            raise ConfigError(f"baseline={baseline} is no cell here; cells: {', '.join(cells)}.")
        return [(cell, baseline) for cell in cells if cell != baseline]
    listed = [str(run.get("cell", "")) for run in (study.study or {}).get("runs", [])]
    planned = [cell for cell in dict.fromkeys([*listed, *cells]) if cell]
    return [
        (cell, other)
        for cell, other in wanted_pairs(plan, planned, scored)
        if cell in cells and (other in cells or other in scored)
    ]


def _metrics(study: RecordFolder, plan: Mapping[str, Any], asked: Sequence[str] | None) -> list[str]:
    if asked is not None:
        return list(asked)
    named = named_metrics(study)
    if not plan.get("metrics"):
        records = [run.record for run in study.runs if run.record.status == "finished"]
        named += [column.key for column in columns_of(records) if column.group == "quality"]
    return list(dict.fromkeys(named))


def _by_replicate(runs: Sequence[StoredRun]) -> dict[Replicate, StoredRun]:
    return {(run.record.seed, fold_of(run)): run for run in runs if run.record.status == "finished"}


def fold_of(run: StoredRun) -> int | None:
    """The fold that a run was tested on, where the log was cut into folds."""
    data = run.record.config.get("data")
    split = data.get("split") if isinstance(data, Mapping) else None
    if not isinstance(split, Mapping) or ("folds" in split and split["folds"] is None):
        return None
    fold = split.get("fold", 0 if "folds" in split else None)
    return None if fold is None else int(fold)


@dataclass
class _Side:
    """One side of a pair: its runs, its values and its statistics, replicate by replicate."""

    runs: Mapping[Replicate, StoredRun]
    values: Mapping[Replicate, float]
    statistics: Mapping[Replicate, Mapping[str, NDArray] | None]
    drawn: dict[Replicate, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Mapping[Replicate, StoredRun], held: Held, metric: str, scorer: str = "") -> _Side:
        """A cell's runs, or a baseline as it was scored on each run's own rows."""
        values = {
            key: number(run.record.baselines.get(scorer, {}).get(metric)) if scorer else run.record.value(metric)
            for key, run in runs.items()
        }
        return cls(
            runs,
            {key: value for key, value in values.items() if value is not None},
            {key: held.of(run, metric, scorer) for key, run in runs.items()},
        )


def _sides(
    pairs: Sequence[Pair], cells: Mapping[str, Mapping[Replicate, StoredRun]], held: Held, metric: str
) -> dict[tuple[str, str], _Side]:
    """Each cell that a pair needs, by (cell, ""), and each baseline on a cell's rows, by (cell, baseline)."""
    keys = [key for cell, other in pairs for key in ((cell, ""), (other, "") if other in cells else (cell, other))]
    return {(cell, scorer): _Side.of(cells[cell], held, metric, scorer) for cell, scorer in dict.fromkeys(keys)}


def _draw(sides: Iterable[_Side], metric: str, confirmed: bool) -> None:
    """Resample all sides at once, where the metric is a mean or an AUC that the bootstrap is to confirm."""
    places, runs = [], []
    for side in sides:
        for key, statistics in side.statistics.items():
            if statistics is not None and (confirmed or f"{metric}:positives" not in statistics):
                places.append((side, key))
                runs += clusters_in([statistics], metric)
    for (side, key), values in zip(places, resample(runs), strict=True):
        side.drawn[key] = values


def _pair(one: _Side, other: _Side, metric: str, names: Pair, held: Held) -> Comparison | None:
    """One pair on one metric before its family is judged; None where no common replicate has the metric."""
    keys = sorted(set(one.values) & set(other.values), key=lambda key: (key[0], -1 if key[1] is None else key[1]))
    if not keys:
        return None
    first, second = ([side.values[key] for key in keys] for side in (one, other))
    folds = {fold for _, fold in keys if fold is not None}
    plain = Comparison(
        metric=metric,
        baseline=names[1],
        cell=names[0],
        verdict="no claim",
        value=float(np.mean(first)),
        baseline_value=float(np.mean(second)),
        difference=float(np.mean(first) - np.mean(second)),
        effect=finite(hedges_g(first, second)),
        seeds=len(keys),
        folds=len(folds),
    )
    if any(log_changed(one.runs[key].record, other.runs[key].record) for key in keys):
        return replace(plain, note=LOG_CHANGED)
    left, right = ([side.statistics[key] for key in keys] for side in (one, other))
    whole = [statistics for statistics in (*left, *right) if statistics is not None]
    if not all(held.there(side.runs[key]) for side in (one, other) for key in keys):
        return replace(plain, note=NO_STATISTICS)
    runs = [one.runs[key] for key in keys]
    if len(whole) < 2 * len(keys):
        return _over_seeds(plain, first, second, runs, held)
    drawn = ([one.drawn[key] for key in keys], [other.drawn[key] for key in keys]) if one.drawn else None
    try:
        found = pair(
            [s for s in left if s is not None],
            [s for s in right if s is not None],
            metric,
            *names,
            confirm=drawn is not None,
            logs=[str(run.record.data.get("fingerprint")) for run in runs],
            test_over_train=test_over_train_of(runs),
            drawn=drawn,
        )
    except DataError:
        return replace(plain, note=OTHER_ROWS)
    return replace(found, folds=len(folds), note=_alone(plain))


def _alone(comparison: Comparison) -> str:
    """Why a single pair of runs claims nothing."""
    return (ONE_FOLD if comparison.folds else ONE_SEED) if comparison.seeds == 1 else ""


def test_over_train_of(runs: Sequence[StoredRun]) -> float:
    """Test rows over training rows, the mean over runs; 0 where records do not say."""
    rows = [run.record.data.get("rows") or {} for run in runs]
    shares = [r["test"] / r["train"] for r in rows if r.get("train") and r.get("test")]
    return float(np.mean(shares)) if len(shares) == len(runs) else 0.0


def _over_seeds(
    plain: Comparison, first: Sequence[float], second: Sequence[float], runs: Sequence[StoredRun], held: Held
) -> Comparison:
    """A metric that is no mean over requests (calibration error, kappa): the spread over runs is all there is.

    Where all runs were tested on the same rows, that spread says nothing of which requests were drawn, so the interval
    is shown and nothing is claimed.
    """
    if plain.seeds == 1:
        return replace(plain, note=_alone(plain))
    units = [held.units(run) for run in runs]
    same = all(units[0].keys() == other.keys() and all(units[0][k] is other[k] for k in other) for other in units)
    logs = {run.record.data.get("fingerprint") for run in runs}
    resplit = not same or len(logs) > 1
    interval = seed_difference(first, second, test_over_train=test_over_train_of(runs) if resplit else 0.0)
    return replace(
        plain,
        low=finite(interval.low),
        high=finite(interval.high),
        p_value=finite(interval.p_value),
        detectable=finite(interval.detectable),
        method=interval.method,
        note="" if resplit else SEEDS_ALONE,
    )
