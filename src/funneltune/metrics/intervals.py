"""Is a difference real? Intervals that respect clusters of rows and the spread over seeds.

Two sources of chance are added: which requests were drawn to test on, and which seed a run was trained with. With s
seeds on the same test rows, var(mean difference) = var over seeds / s + sampling variance over requests of the
seed-averaged difference, with Welch-Satterthwaite degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from funneltune.errors import DataError
from funneltune.metrics.ties import Floats, same_length

ENOUGH_SEEDS = 10
"""From here on the two-level bootstrap gives the interval; a percentile of fewer seeds is too narrow."""


@dataclass(frozen=True)
class ClusterPlacements:
    """What an AUC is made of, per cluster: weights of positives and negatives, sums of their placement values."""

    positives: Floats
    negatives: Floats
    among_negatives: Floats
    among_positives: Floats

    def __post_init__(self) -> None:
        """Refuse parts of different clusters."""
        same_length(**vars(self))

    @property
    def auc(self) -> float:
        """The AUC over all clusters; NaN where a class is absent."""
        total = float(self.positives.sum())
        return float(self.among_negatives.sum() / total) if total > 0 and self.negatives.sum() > 0 else float("nan")

    def same_rows(self, other: ClusterPlacements) -> bool:
        """Whether two scorers were measured on the same clusters and labels."""
        return (
            self.positives.shape == other.positives.shape
            and np.allclose(self.positives, other.positives, rtol=1e-5)
            and np.allclose(self.negatives, other.negatives, rtol=1e-5)
        )


@dataclass(frozen=True)
class ClusterSums:
    """What a mean is made of, per cluster: a sum and a weight."""

    sums: Floats
    weights: Floats

    def __post_init__(self) -> None:
        """Refuse parts of different clusters."""
        same_length(**vars(self))

    @property
    def mean(self) -> float:
        """Sum over weight; NaN where nothing counts."""
        total = float(self.weights.sum())
        return float(self.sums.sum() / total) if total > 0 else float("nan")


@dataclass(frozen=True)
class Interval:
    """An estimate with its uncertainty. NaN where it cannot be had (one cluster, no spread)."""

    estimate: float
    standard_error: float
    low: float
    high: float
    p_value: float
    degrees_of_freedom: float
    detectable: float
    """The smallest true difference that this design would find with 80% power at the interval's level."""
    seeds: int
    clusters: int
    method: str


def clustered_delong(placed: ClusterPlacements, level: float = 0.95) -> Interval:
    """One AUC with its clustered DeLong interval (Obuchowski 1997, eqs. 2 and 3); p is against an AUC of one half."""
    variance = _delong_variance(placed, placed.among_negatives, placed.among_positives, placed.auc)
    clusters = _informative(placed)
    return _t_interval(placed.auc, variance, clusters - 1, level, 1, clusters, "clustered DeLong", null=0.5)


def auc_difference(
    first: Sequence[ClusterPlacements], second: Sequence[ClusterPlacements], level: float = 0.95
) -> Interval:
    """Difference of two AUCs, first minus second, paired over clusters and over seeds (one entry per seed).

    Obuchowski (1997) gives each AUC's variance and their covariance; both follow at once from the differences of
    placement values. Where seeds were tested on different rows, the spread over seeds already holds both sources of
    chance and stands alone.
    """
    _paired(len(first), len(second))
    for a, b in zip(first, second, strict=True):
        if not a.same_rows(b):
            raise DataError(
                "compare: a pair was tested on different rows; test both on the same split of the same log."
            )
    differences = [a.auc - b.auc for a, b in zip(first, second, strict=True)]
    one = first[0]
    if not all(one.same_rows(other) for other in first):
        return seed_difference([a.auc for a in first], [b.auc for b in second], level)
    among_negatives = np.mean(
        [a.among_negatives - b.among_negatives for a, b in zip(first, second, strict=True)], axis=0
    )
    among_positives = np.mean(
        [a.among_positives - b.among_positives for a, b in zip(first, second, strict=True)], axis=0
    )
    sampling = _delong_variance(one, among_negatives, among_positives, float(np.mean(differences)))
    clusters = _informative(one)
    return _combine(differences, sampling, clusters, level, "clustered DeLong")


def mean_difference(
    first: Sequence[ClusterSums],
    second: Sequence[ClusterSums],
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Difference of two means, first minus second, by a paired bootstrap over clusters and seeds.

    With fewer than ten seeds the bootstrap gives the sampling variance over clusters alone, and seeds enter as in
    `auc_difference`; from ten on both levels are resampled and the percentiles are the interval.
    """
    _paired(len(first), len(second))
    differences = [a.mean - b.mean for a, b in zip(first, second, strict=True)]
    clusters = len(first[0].sums)
    if any(len(c.sums) != clusters for c in (*first, *second)):
        if any(len(a.sums) != len(b.sums) for a, b in zip(first, second, strict=True)):
            raise DataError(
                "compare: a pair was tested on different rows; test both on the same split of the same log."
            )
        return seed_difference([a.mean for a in first], [b.mean for b in second], level)
    # Clusters without weight in any run (requests without a purchase) carry nothing; they are not counted.
    counted = np.max([c.weights for c in (*first, *second)], axis=0) > 0
    if not counted.any():
        nothing = float("nan")
        return _t_interval(nothing, nothing, 0, level, len(first), 0, "bootstrap over requests")
    generator = np.random.default_rng(seed)
    resampled = _resampled(first, second, counted, draws, generator)
    informative = int(counted.sum())
    if len(first) < ENOUGH_SEEDS:
        variance = float(np.var(resampled.mean(axis=1), ddof=1)) if informative > 1 else float("nan")
        return _combine(differences, variance, informative, level, "bootstrap over requests")
    picks = generator.multinomial(len(first), np.full(len(first), 1 / len(first)), draws) / len(first)
    both = (resampled * picks).sum(axis=1)
    return _percentile(float(np.mean(differences)), both, level, len(first), informative)


def seed_difference(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Interval:
    """Difference of two scores, first minus second, from their paired values per seed alone (t interval)."""
    _paired(len(first), len(second))
    d = np.subtract(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64))
    variance = float(np.var(d, ddof=1) / len(d)) if len(d) > 1 else float("nan")
    return _t_interval(float(d.mean()), variance, len(d) - 1, level, len(d), 0, "t over seeds")


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down adjustment: p-values that may each be held against the level of the whole family.

    An undefined p (NaN) stays undefined, and still counts as a member of the family.

    >>> [round(float(p), 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if ((p < 0) | (p > 1)).any():
        raise DataError(f"compare: a p-value is {p[(p < 0) | (p > 1)][0]}; it must lie in [0, 1].")
    order = np.argsort(p, kind="stable")  # NaN sorts last
    adjusted = np.maximum.accumulate(np.minimum(1.0, p[order] * np.arange(len(p), 0, -1)))
    result = np.empty_like(p)
    result[order] = adjusted
    result[np.isnan(p)] = np.nan
    return result


def minimum_detectable(
    standard_error: float, degrees_of_freedom: float, level: float = 0.95, power: float = 0.8
) -> float:
    """The smallest true difference that a two-sided test finds with the given power: (t_(1-a/2) + t_power) x s.e."""
    if not (math.isfinite(standard_error) and degrees_of_freedom > 0):
        return float("nan")
    quantiles = np.asarray(stats.t.ppf([1 - (1 - level) / 2, power], degrees_of_freedom))
    return float(quantiles.sum() * standard_error)


def _paired(first: int, second: int) -> None:
    if first != second or first == 0:
        raise DataError(f"compare: {first} runs against {second}; pairs need one of each per seed, at least one.")


def _informative(placed: ClusterPlacements) -> int:
    """Clusters that the rarer class is spread over: what the sampling variance is estimated from."""
    return int(min((placed.positives > 0).sum(), (placed.negatives > 0).sum()))


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


def _resampled(
    first: Sequence[ClusterSums],
    second: Sequence[ClusterSums],
    counted: np.ndarray,
    draws: int,
    generator: np.random.Generator,
) -> Floats:
    """Differences per draw and seed, (draws, seeds), over clusters drawn with replacement, the same for all runs."""
    n = int(counted.sum())
    parts = np.stack(
        [np.stack([c.sums[counted], c.weights[counted]], axis=1) for c in (*first, *second)], axis=1
    ).reshape(n, -1)
    result = np.empty((draws, len(first)))
    if n == 0:
        return np.full((draws, len(first)), np.nan)
    step = max(1, 4_000_000 // n)
    for start in range(0, draws, step):
        take = min(step, draws - start)
        picks = generator.multinomial(n, np.full(n, 1 / n), take).astype(np.float64)
        totals = (picks @ parts).reshape(take, -1, 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = totals[:, :, 0] / totals[:, :, 1]
        result[start : start + take] = means[:, : len(first)] - means[:, len(first) :]
    return result


def _combine(differences: Sequence[float], sampling: float, clusters: int, level: float, method: str) -> Interval:
    """Add the seeds' variance to the sampling variance, with Welch-Satterthwaite degrees of freedom."""
    seeds = len(differences)
    estimate = float(np.mean(differences))
    if seeds == 1:
        return _t_interval(estimate, sampling, clusters - 1, level, 1, clusters, method)
    spread = float(np.var(differences, ddof=1) / seeds)
    total = spread + sampling
    squares = spread**2 / (seeds - 1) + sampling**2 / max(clusters - 1, 1)
    df = total**2 / squares if squares > 0 else float(seeds - 1)
    return _t_interval(estimate, total, df, level, seeds, clusters, f"{method} + spread over seeds")


def _t_interval(
    estimate: float,
    variance: float,
    df: float,
    level: float,
    seeds: int,
    clusters: int,
    method: str,
    null: float = 0.0,
) -> Interval:
    error = math.sqrt(max(variance, 0.0)) if math.isfinite(variance) and df > 0 else float("nan")
    if not math.isfinite(error) or error == 0.0:
        # Equal runs have no spread and no difference. A difference without spread says that the spread is unknown.
        p = 1.0 if error == 0.0 and estimate == null else float("nan")
        return Interval(estimate, error, float("nan"), float("nan"), p, df, float("nan"), seeds, clusters, method)
    reach = float(stats.t.ppf(1 - (1 - level) / 2, df)) * error
    p = float(2 * stats.t.sf(abs(estimate - null) / error, df))
    detectable = minimum_detectable(error, df, level)
    return Interval(estimate, error, estimate - reach, estimate + reach, p, df, detectable, seeds, clusters, method)


def _percentile(estimate: float, resampled: Floats, level: float, seeds: int, clusters: int) -> Interval:
    values = resampled[np.isfinite(resampled)]
    if len(values) < 2:
        nan = float("nan")
        return Interval(estimate, nan, nan, nan, nan, nan, nan, seeds, clusters, "two-level bootstrap")
    low, high = np.quantile(values, [(1 - level) / 2, 1 - (1 - level) / 2])
    error = float(values.std(ddof=1))
    tail = (1 + min(int((values <= 0).sum()), int((values >= 0).sum()))) / (len(values) + 1)
    df = float(min(seeds, clusters) - 1)
    detectable = minimum_detectable(error, df, level)
    p = min(1.0, 2 * tail)
    return Interval(estimate, error, float(low), float(high), p, df, detectable, seeds, clusters, "two-level bootstrap")
