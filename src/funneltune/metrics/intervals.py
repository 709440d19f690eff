"""Is a difference real? A t interval over two crossed sources of chance: which requests were drawn, and which seed.

With s seeds tested on the same requests, the scores form a table of seeds x requests. The variance of its grand mean is

    V = sampling + max(0, spread - interaction)                                                                 (1)

where `spread` is the variance over seeds / s, `sampling` that over requests of the seed-averaged difference, and
`interaction` what is neither a seed's own nor a request's own. Both of the first two hold the interaction, so it is
taken off once (the random-effects analysis of variance of a two-way table). The degrees of freedom are

    1 / df = w / (s - 1) + (1 - w) / (clusters - 1),   w = min(1, spread / V)                                    (2)

Welch and Satterthwaite square the weights, which at 3 seeds calls 8% of ties a difference where the spread dominates
(experiments/verdicts); (2) does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from funneltune.errors import DataError
from funneltune.metrics.ties import Floats

TWO_SEEDS_POWER = 0.4
"""Exponent of the weights in (2) at two seeds: their spread has one degree of freedom, so little of it counts much."""
POWER = 0.8
NEARLY_NORMAL = 1000
"""Degrees of freedom from which on a noncentral t's quantiles are a shifted t's to one part in a million."""


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


class Sources(NamedTuple):
    """Variances of a mean over seeds and clusters, by source; see (1)."""

    sampling: float
    interaction: float


def crossed(differences: Sequence[float], sources: Sources, clusters: int, level: float, method: str) -> Interval:
    """The interval of differences that were measured seed by seed on the same clusters, by (1) and (2)."""
    seeds = len(differences)
    estimate = float(np.mean(differences))
    if seeds == 1:
        return t_interval(estimate, sources.sampling, clusters - 1, level, 1, clusters, method)
    spread = float(np.var(differences, ddof=1) / seeds)
    total = sources.sampling + max(0.0, spread - sources.interaction)
    share = min(1.0, spread / total) if total > 0 else 1.0
    weight = share**TWO_SEEDS_POWER if seeds == 2 else share
    df = 1.0 / (weight / (seeds - 1) + (1.0 - weight) / max(clusters - 1, 1))
    return t_interval(estimate, total, df, level, seeds, clusters, method)


def seed_difference(
    first: Sequence[float], second: Sequence[float], level: float = 0.95, test_over_train: float = 0.0
) -> Interval:
    """Difference of two scores, first minus second, from their paired values per replicate alone (t interval).

    Replicates that were tested on different rows (seeds that split the log anew, folds) share most of their training
    rows, so they vary less together than they would from the truth. Nadeau & Bengio (2003), eq. 8, correct for it:
    variance x (1 / k + n_test / n_train). For k folds each row is tested once and n_test / n_train is 1 / (k - 1); the
    same correction is used there.

    Args:
        first: One value per replicate.
        second: Likewise.
        level: Of the interval.
        test_over_train: Test rows over training rows; 0 leaves the plain paired t.
    """
    paired(len(first), len(second))
    d = np.subtract(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64))
    k = len(d)
    variance = float(np.var(d, ddof=1) * (1 / k + test_over_train)) if k > 1 else float("nan")
    method = "corrected resampled t" if test_over_train else "t over seeds"
    return t_interval(float(d.mean()), variance, k - 1, level, k, 0, method)


def hedges_g(first: ArrayLike, second: ArrayLike) -> float:
    """How many standard deviations of a single run apart two methods' runs lie, corrected for few runs (Hedges 1981).

    (mean first - mean second) / pooled sd x (1 - 3 / (4 df - 1)), df = n + m - 2. NaN with one run, or without spread.

    >>> round(hedges_g([0.72, 0.74, 0.76], [0.70, 0.72, 0.74]), 3)
    0.8
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    df = len(one) + len(other) - 2
    if min(len(one), len(other)) < 2:
        return float("nan")
    pooled = float((len(one) - 1) * np.var(one, ddof=1) + (len(other) - 1) * np.var(other, ddof=1)) / df
    if not pooled > 1e-24:
        return float("nan")
    return float((one.mean() - other.mean()) / math.sqrt(pooled) * (1 - 3 / (4 * df - 1)))


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
    standard_error: float, degrees_of_freedom: float, level: float = 0.95, power: float = POWER
) -> float:
    """The smallest true difference that a two-sided test finds with the given power.

    It is the mean, in standard errors, of the noncentral t that exceeds the test's threshold so often. An estimated
    standard error is too small on average where degrees of freedom are few; the factor c4 makes up for that.
    """
    df = degrees_of_freedom
    if not (math.isfinite(standard_error) and df > 0):
        return float("nan")
    threshold = float(special.stdtrit(df, 1 - (1 - level) / 2))
    mean = float(special.nctdtrinc(df, 1 - power, threshold)) if df < NEARLY_NORMAL else math.nan
    if not math.isfinite(mean):
        mean = threshold + float(special.stdtrit(df, power))
    c4 = math.sqrt(2 / df) * math.exp(special.gammaln((df + 1) / 2) - special.gammaln(df / 2))
    return mean / c4 * standard_error


def shifted(interval: Interval, by: float) -> Interval:
    """The interval of the same quantity before `by` was taken off it; its p-value stays that of being `by`."""
    moved = {name: getattr(interval, name) + by for name in ("estimate", "low", "high")}
    return replace(interval, **moved)


def paired(first: int, second: int) -> None:
    """Raises DataError unless there is one run of each per seed."""
    if first != second or first == 0:
        raise DataError(f"compare: {first} runs against {second}; pairs need one of each per seed, at least one.")


def t_interval(
    estimate: float,
    variance: float,
    df: float,
    level: float,
    seeds: int,
    clusters: int,
    method: str,
    null: float = 0.0,
) -> Interval:
    """An estimate whose variance is known to so many degrees of freedom."""
    error = math.sqrt(max(variance, 0.0)) if math.isfinite(variance) and df > 0 else float("nan")
    if not math.isfinite(error) or error == 0.0:
        # Equal runs have no spread and no difference. A difference without spread says that the spread is unknown.
        p = 1.0 if error == 0.0 and estimate == null else float("nan")
        return Interval(estimate, error, float("nan"), float("nan"), p, df, float("nan"), seeds, clusters, method)
    reach = float(special.stdtrit(df, 1 - (1 - level) / 2)) * error
    p = float(2 * special.stdtr(df, -abs(estimate - null) / error))
    detectable = minimum_detectable(error, df, level)
    return Interval(estimate, error, estimate - reach, estimate + reach, p, df, detectable, seeds, clusters, method)


def clustered_mean(values: ArrayLike, cluster: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of rows that are independent between clusters only (shoppers), with its linearised t interval.

    With S_g the sum and n_g the rows of cluster g of G, the variance is G / (G - 1) sum_g (S_g - m n_g)^2 / n^2, as of
    a ratio (Cochran 1977, ch. 6).

    >>> clustered_mean([1, 1, 3, 3], [0, 0, 1, 1]).standard_error
    1.0
    """
    rows = np.asarray(values, dtype=np.float64)
    names, place = np.unique(np.asarray(cluster), return_inverse=True)
    n, groups = len(rows), len(names)
    mean = float(rows.mean()) if n else math.nan
    apart = np.bincount(place, weights=rows - mean, minlength=groups)
    variance = groups / (groups - 1) * float((apart**2).sum()) / n**2 if groups > 1 else math.nan
    return t_interval(mean, variance, groups - 1, level, 1, groups, "clustered mean")
