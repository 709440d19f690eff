"""The bootstrap's draws of clusters, made once for every run that was tested on the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from funneltune.metrics.clusters import ClusterPlacements, Clusters, ClusterTotals
from funneltune.metrics.intervals import Sources
from funneltune.metrics.ties import Floats

FEWEST, MOST = 2_000, 10_000
PICKS = 400_000_000
"""Clusters that are picked in all, where that leaves the draws between the two: a standard error from up to 40,000
clusters is known to 0.7%, one from 200,000 or more to 1.6%."""
ROOM = 1_000_000
"""Picks that are held at once: 8 MB, thrice."""


def resample(runs: Sequence[Clusters], draws: int | None = None, seed: int = 0) -> list[Floats]:
    """Each run's value over clusters drawn with replacement: (draws,) per run, the same clusters for all.

    Runs with other clusters that count have other draws. The draws depend on the number of these clusters and the seed
    alone, so a pair's interval does not depend on which other runs are there.

    A mean is the resampled sum over the resampled weight, a function of sums that of the resampled sums. An AUC is
    linearised: its clusters bring their placement sums among all rows of the log, and are not ranked anew,

        AUC* = sum among_negatives* / positives* + sum among_positives* / negatives* - AUC

    Args:
        runs: What the metric is made of, run by run.
        draws: How often; by default as often as `PICKS` allows.
        seed: Of the picks.
    """
    found: list[Floats] = [np.empty(0)] * len(runs)
    groups: dict[tuple[type, int, bytes], list[int]] = {}
    for index, run in enumerate(runs):
        groups.setdefault((type(run), len(run.counted), run.counted.tobytes()), []).append(index)
    for members in groups.values():
        for index, values in zip(members, _group([runs[i] for i in members], draws, seed).T, strict=True):
            found[index] = values
    return found


def sources(differences: Floats) -> Sources:
    """Variances over clusters of a difference's draws, (draws, seeds): of the mean, and of what seeds do not share.

    Seeds are not drawn: resampling s of them multiplies their variance by (s - 1) / s, which is known, so the exact one
    of the seeds' values is used instead. A draw without a cluster of one class has no value and is left out.
    """
    seeds = differences.shape[1]
    differences = differences[np.isfinite(differences).all(axis=1)]
    if len(differences) < 2:
        return Sources(float("nan"), float("nan"))
    mean = differences.mean(axis=1)
    own = float(np.var(differences - mean[:, None], axis=0, ddof=1).sum()) if seeds > 1 else 0.0
    return Sources(float(np.var(mean, ddof=1)), own / max(seeds - 1, 1) / seeds)


def _group(runs: Sequence[Clusters], draws: int | None, seed: int) -> Floats:
    """(draws, runs) of runs whose clusters are the same."""
    counted = runs[0].counted
    n = int(counted.sum())
    draws = draws or min(MOST, max(FEWEST, PICKS // max(n, 1)))
    if n == 0:
        return np.full((draws, len(runs)), np.nan)
    columns, places = _columns(runs)
    parts = np.stack([column[counted] for column in columns], axis=1).astype(np.float64, copy=False)
    generator = np.random.default_rng(seed)
    totals = np.empty((draws, parts.shape[1]))
    step = max(1, ROOM // n)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        picked = generator.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
        times = np.bincount(picked.ravel(), minlength=rows * n).reshape(rows, n)
        totals[start : start + rows] = times.astype(np.float64) @ parts
    result = np.empty((draws, len(runs)))
    with np.errstate(invalid="ignore", divide="ignore"):
        for index, (run, place) in enumerate(zip(runs, places, strict=True)):
            taken = totals[:, place]
            if isinstance(run, ClusterTotals):
                result[:, index] = run.formula.of(taken)
                continue
            value = taken[:, 0] / taken[:, 1]
            if isinstance(run, ClusterPlacements):
                value = value + taken[:, 2] / taken[:, 3] - run.auc
            result[:, index] = value
    return result


def _columns(runs: Sequence[Clusters]) -> tuple[list[Floats], list[list[int]]]:
    """What is summed, each array once (weights are the same of most runs), and where each run's parts are in it."""
    columns: list[Floats] = []
    known: dict[int, int] = {}

    def place(column: Floats) -> int:
        if id(column) not in known:
            known[id(column)] = len(columns)
            columns.append(column)
        return known[id(column)]

    def parts(run: Clusters) -> list[Floats]:
        if isinstance(run, ClusterPlacements):
            return [run.among_negatives, run.positives, run.among_positives, run.negatives]
        if isinstance(run, ClusterTotals):
            return list(run.totals.T)
        return [run.sums, run.weights]

    return columns, [[place(part) for part in parts(run)] for run in runs]
