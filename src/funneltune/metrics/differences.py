"""Differences of two methods on one metric, paired over clusters and over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from funneltune.errors import DataError
from funneltune.metrics.clusters import ClusterPlacements, Clusters, ClusterSums, by_rows
from funneltune.metrics.intervals import Interval, Sources, crossed, paired, seed_difference, shifted, t_interval
from funneltune.metrics.resampling import resample, sources
from funneltune.metrics.ties import Floats

OTHER_ROWS = "compare: a pair was tested on different rows; test both on the same split of the same log."


def clustered_delong(placed: ClusterPlacements, level: float = 0.95) -> Interval:
    """One AUC with its clustered DeLong interval (Obuchowski 1997, eqs. 2 and 3); p is against an AUC of one half."""
    variance = _delong_variance(placed, placed.among_negatives, placed.among_positives, placed.auc)
    clusters = _informative(placed)
    return t_interval(placed.auc, variance, clusters - 1, level, 1, clusters, "clustered DeLong", null=0.5)


def auc_difference(
    first: Sequence[ClusterPlacements], second: Sequence[ClusterPlacements], level: float = 0.95
) -> Interval:
    """Difference of two AUCs, first minus second, paired over clusters and over seeds (one entry per seed).

    Obuchowski (1997) gives each AUC's variance and their covariance; both follow at once from the differences of
    placement values, and likewise the part of it that seeds do not share. Where seeds were tested on different rows,
    see `difference`.
    """
    return difference(first, second, level, delong=True)


def mean_difference(
    first: Sequence[ClusterSums],
    second: Sequence[ClusterSums],
    level: float = 0.95,
    draws: int | None = None,
    seed: int = 0,
) -> Interval:
    """Difference of two means, first minus second, by a paired two-level bootstrap over clusters and seeds."""
    return difference(first, second, level, draws=draws, seed=seed)


def difference(
    first: Sequence[Clusters],
    second: Sequence[Clusters],
    level: float = 0.95,
    *,
    delong: bool = False,
    known: Sequence[object] = (),
    test_over_train: float = 0.0,
    drawn: tuple[Sequence[Floats], Sequence[Floats]] | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> Interval:
    """First minus second, one entry per seed, by clustered DeLong or by the two-level bootstrap.

    Where seeds were tested on different rows, the spread over the sets of rows already holds both sources of chance and
    stands alone, corrected for what their training rows share; seeds on the same rows are averaged first.

    Args:
        first: One method's runs.
        second: The other's, run by run on the same rows.
        level: Of the interval.
        delong: Clustered DeLong, for AUCs; the bootstrap otherwise.
        known: What tells test rows apart beside the weights of clusters, one entry per run.
        test_over_train: See `seed_difference`.
        drawn: `resample`d values of both sides, where they are at hand.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: A pair was tested on different rows, or the sides hold different numbers of runs.
    """
    paired(len(first), len(second))
    if not all(_paired_rows(a, b) for a, b in zip(first, second, strict=True)):
        raise DataError(OTHER_ROWS)
    differences = np.array([a.value - b.value for a, b in zip(first, second, strict=True)])
    groups = by_rows(first, known)
    if len(groups) > 1:
        values = [float(differences[group].mean()) for group in groups]
        return seed_difference(values, [0.0] * len(values), level, test_over_train)
    if delong:
        clusters = _informative(first[0])  # type: ignore[arg-type]
        found = _delong_sources(first, second, differences)  # type: ignore[arg-type]
        return crossed(list(differences), found, clusters, level, "clustered DeLong" + _levels(len(first)))
    taken = drawn or _drawn(first, second, draws, seed)
    apart = np.stack(taken[0], axis=1) - np.stack(taken[1], axis=1)
    return _bootstrapped(differences, apart, (first, second), level)


def contrast(
    sides: Sequence[Sequence[Clusters]],
    weights: Sequence[float],
    level: float = 0.95,
    *,
    null: float = 0.0,
    off_one: bool = False,
    known: Sequence[object] = (),
    test_over_train: float = 0.0,
    draws: int | None = None,
    seed: int = 0,
) -> Interval:
    """A weighted sum of several methods' values: a difference (1, -1), a difference of differences, a trend.

    The two-level bootstrap over clusters and seeds of `difference`, over any number of sides; the p-value is of the sum
    being `null`. Sides may be tested on different logs (their clusters are then drawn apart).

    Args:
        sides: Each method's runs, one entry per seed.
        weights: One per side.
        level: Of the interval.
        null: What the sum is held against.
        off_one: Take each value's distance from 1 (`predicted_over_true`: how far off in sum) in place of the value.
        known: What tells test rows apart beside the weights of clusters, one entry per run.
        test_over_train: See `seed_difference`.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: The sides hold different numbers of runs.
    """
    for side in sides:
        paired(len(sides[0]), len(side))

    def seen(values: Floats) -> Floats:
        return np.abs(values - 1.0) if off_one else values

    values = np.array([seen(np.array([run.value for run in side])) for side in sides])  # (sides, seeds)
    estimates = np.asarray(weights) @ values
    groups = by_rows(sides[0], known)
    if len(groups) > 1:
        means = [float(estimates[group].mean()) for group in groups]
        found = seed_difference(means, [null] * len(means), level, test_over_train)
        return shifted(found, null)
    taken = resample([run for side in sides for run in side], draws, seed)
    seeds = len(sides[0])
    drawn = [np.stack(taken[i * seeds : (i + 1) * seeds], axis=1) for i in range(len(sides))]
    summed = sum(weight * seen(values) for weight, values in zip(weights, drawn, strict=True))
    return shifted(_bootstrapped(estimates - null, np.asarray(summed), sides, level), null)


def _bootstrapped(estimates: Floats, drawn: Floats, sides: Sequence[Sequence[Clusters]], level: float) -> Interval:
    """The interval of values seed by seed, from the draws (draws, seeds) of each."""
    clusters = _clusters(sides)
    found = sources(drawn)
    if clusters < 2:
        found = Sources(float("nan"), float("nan"))
    else:  # resampling n clusters gives (n - 1) / n of their variance
        found = Sources(*(part * clusters / (clusters - 1) for part in found))
    method = "two-level bootstrap" if len(estimates) > 1 else "bootstrap over requests"
    return crossed(list(estimates), found, clusters, level, method)


def _clusters(sides: Sequence[Sequence[Clusters]]) -> int:
    """How many clusters carry what is compared."""
    firsts = [side[0] for side in sides]
    if all(isinstance(one, ClusterPlacements) for one in firsts):
        return min(_informative(one) for one in firsts)  # type: ignore[arg-type]
    if len({len(one.counted) for one in firsts}) > 1:  # of different logs
        return min(int(one.counted.sum()) for one in firsts)
    return _counted([run for side in sides for run in side])


def _levels(seeds: int) -> str:
    return " crossed with seeds" if seeds > 1 else ""


def _paired_rows(a: Clusters, b: Clusters) -> bool:
    if isinstance(a, ClusterPlacements) and isinstance(b, ClusterPlacements):
        return a.same_rows(b)
    return len(a.counted) == len(b.counted)


def _drawn(
    first: Sequence[Clusters], second: Sequence[Clusters], draws: int | None, seed: int
) -> tuple[list[Floats], list[Floats]]:
    taken = resample([*first, *second], draws, seed)
    return taken[: len(first)], taken[len(first) :]


def _counted(runs: Sequence[Clusters]) -> int:
    return int(np.any([run.counted for run in runs], axis=0).sum())


def _informative(placed: ClusterPlacements) -> int:
    """Clusters that the rarer class is spread over: what the sampling variance is estimated from."""
    return int(min((placed.positives > 0).sum(), (placed.negatives > 0).sum()))


def _delong_sources(
    first: Sequence[ClusterPlacements], second: Sequence[ClusterPlacements], differences: Floats
) -> Sources:
    """Obuchowski's variance of the seed-averaged difference, and of what each seed adds to it, per seed."""
    negatives = np.stack([a.among_negatives - b.among_negatives for a, b in zip(first, second, strict=True)])
    positives = np.stack([a.among_positives - b.among_positives for a, b in zip(first, second, strict=True)])
    seeds, mean = len(first), float(differences.mean())
    mean_negatives, mean_positives = negatives.mean(axis=0), positives.mean(axis=0)
    own = sum(
        _delong_variance(first[0], n - mean_negatives, p - mean_positives, float(d) - mean)
        for n, p, d in zip(negatives, positives, differences, strict=True)
    )
    sampling = _delong_variance(first[0], mean_negatives, mean_positives, mean)
    return Sources(sampling, own / max(seeds - 1, 1) / seeds)


def _delong_variance(
    placed: ClusterPlacements, among_negatives: Floats, among_positives: Floats, estimate: float
) -> float:
    """Obuchowski's variance of an AUC (or of a difference of two, when handed differences of placement sums)."""
    m, n = placed.positives, placed.negatives
    with_positive, with_negative = int((m > 0).sum()), int((n > 0).sum())
    clusters = int(((m > 0) | (n > 0)).sum())
    if min(with_positive, with_negative) < 2:
        return float("nan")
    of_positives, of_negatives = among_negatives - m * estimate, among_positives - n * estimate
    total_m, total_n = float(m.sum()), float(n.sum())
    s10 = with_positive / (with_positive - 1) * float(of_positives @ of_positives) / total_m
    s01 = with_negative / (with_negative - 1) * float(of_negatives @ of_negatives) / total_n
    s11 = clusters / (clusters - 1) * float(of_positives @ of_negatives)
    return s10 / total_m + s01 / total_n + 2 * s11 / (total_m * total_n)
