"""Chances of how many are bought: a mean, its spread as past forecasts missed, and quantiles.

A forecast's count is taken to be a sum of chances (Poisson-binomial: variance `base`), whose mean is itself off by a
factor of variance `spread`: variance = base + spread x mean^2, a negative binomial where that exceeds the mean. What is
off is in part the series' own for good, in part the day's: over h days the factor's variance is lasting + passing / h.

Legend: S series, D days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats
from scipy.optimize import minimize_scalar

Floats = NDArray[np.float64]
FLOORS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Shares of the mean over all series below which no mean is taken to be: forecasts of nothing are followed by sales."""
LEAST = 1e-9
LOG_SPREAD = (-9.0, 3.0)


@dataclass(frozen=True)
class Spread:
    """What validation days tell of how far a method's means are off."""

    floor: float
    """The least mean of a single day."""
    floor_of_sums: float
    """The least mean of several days together, per day."""
    lasting: float
    passing: float

    def over(self, days: int) -> float:
        """The factor's variance over so many days together."""
        return self.lasting + self.passing / days

    def quantile(self, level: ArrayLike, mean: Floats, base: Floats, days: int = 1) -> Floats:
        """The least count that is not exceeded with this chance; `mean` and `base` are of `days` days together."""
        centre, around = _raised(mean, base, self.floor if days == 1 else self.floor_of_sums * days)
        return quantile(level, centre, around + self.over(days) * centre**2)


NONE = Spread(0.0, 0.0, 0.0, 0.0)
"""Of means that are the truth."""


def quantile(level: ArrayLike, mean: Floats, variance: Floats) -> Floats:
    """Quantiles of a count of this mean and variance: negative binomial, Poisson, or binomial where it varies less."""
    level, mean, variance = np.broadcast_arrays(np.asarray(level, dtype=np.float64), mean, variance)
    found = np.zeros(mean.shape)
    wide, narrow = variance > mean * (1 + 1e-6), variance < mean * (1 - 1e-3)
    there = mean > LEAST
    for rows, of in ((there & wide, "wide"), (there & narrow & ~wide, "narrow"), (there & ~wide & ~narrow, "same")):
        if not rows.any():
            continue
        m, v, q = mean[rows], variance[rows], level[rows]
        if of == "wide":
            found[rows] = stats.nbinom.ppf(q, m**2 / (v - m), m / v)
        elif of == "narrow":
            n = np.ceil(m**2 / (m - v))
            found[rows] = stats.binom.ppf(q, n, m / n)
        else:
            found[rows] = stats.poisson.ppf(q, m)
    return found


def spread_of(actual: Floats, mean: Floats, base: Floats, counts: NDArray[np.bool_] | None = None) -> Spread:
    """How far (S, D) means of validation days were off, by maximum likelihood: of single days (those that count), then
    of their sums.

    With f(1) the factor's variance over a day and f(D) over all: passing = (f(1) - f(D)) D / (D - 1), lasting the rest.
    """
    days = actual.shape[1]
    overall = float(actual.mean())
    single = np.ones(actual.shape, dtype=bool) if counts is None or not counts.any() else counts
    floor, of_day = _fitted(actual[single], mean[single], base[single], overall)
    totals = [values.sum(axis=1) for values in (actual, mean, base)]
    floor_of_sums, of_all = _fitted(totals[0], totals[1], totals[2], overall * days)
    passing = max(0.0, (of_day - of_all) * days / (days - 1)) if days > 1 else 0.0
    return Spread(floor, floor_of_sums / days, max(0.0, of_day - passing), passing)


def _fitted(actual: Floats, mean: Floats, base: Floats, overall: float) -> tuple[float, float]:
    """The floor and the factor's variance of the likeliest distribution."""
    best = (np.inf, 0.0, 0.0)
    for share in FLOORS:
        spread, loss = _best_spread(actual, *_raised(mean, base, share * overall))
        best = min(best, (loss, share * overall, spread))
    return best[1], best[2]


def _raised(mean: Floats, base: Floats, floor: float) -> tuple[Floats, Floats]:
    """No mean below the floor, and the variances that go with them."""
    centre = np.maximum(mean, floor)
    return centre, np.maximum(centre - (mean - base), 0.0)


def _best_spread(actual: Floats, mean: Floats, base: Floats) -> tuple[float, float]:
    def loss(log_spread: float) -> float:
        return _loss(actual, mean, base + np.exp(log_spread) * mean**2)

    found = minimize_scalar(loss, bounds=LOG_SPREAD, method="bounded", options={"xatol": 1e-2})
    at_least = loss(LOG_SPREAD[0])
    if at_least <= float(found.fun):
        return 0.0, at_least
    return float(np.exp(found.x)), float(found.fun)


def _loss(actual: Floats, mean: Floats, variance: Floats) -> float:
    """Negative log-likelihood per count; not below a Poisson's spread. A mean of nothing is held to be very small."""
    mean = np.maximum(mean, LEAST)
    excess = np.maximum(variance - mean, 1e-6 * mean)
    size = mean**2 / excess
    p = mean / (mean + excess)
    told = special.gammaln(actual + size) - special.gammaln(size) - special.gammaln(actual + 1)
    return float(-(told + size * np.log(p) + actual * np.log1p(-p)).mean())
