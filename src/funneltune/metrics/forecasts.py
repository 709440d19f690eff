"""How far forecasts of many daily series are off, and whether one is better than another.

Legend: S series, D days. Every measure is a ratio of sums over series, so that series are what is resampled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import DataError

Floats = NDArray[np.float64]
DRAWS = 2000
AT_ONCE = 100
"""Draws whose counts of series are held at once."""


class Parts(NamedTuple):
    """A measure's numerator and denominator, series by series."""

    above: Floats
    below: Floats

    @property
    def value(self) -> float:
        """The measure of all series; NaN where nothing counts."""
        total = float(self.below.sum())
        return float(self.above.sum()) / total if total > 0 else float("nan")


class Range(NamedTuple):
    """An estimate with its interval; NaN where it cannot be had."""

    estimate: float
    low: float
    high: float


def wape(actual: Floats, mean: Floats) -> Parts:
    """Weighted absolute percentage error: the sum of |actual - mean| over the sum of what was sold.

    >>> wape(np.array([[2.0, 0.0]]), np.array([[1.0, 0.5]])).value
    0.75
    """
    return Parts(np.abs(actual - mean).sum(axis=1), actual.sum(axis=1))


def bias(actual: Floats, mean: Floats) -> Parts:
    """What was forecast too much in all, over the sum of what was sold; below 0: too little.

    >>> bias(np.array([[2.0, 0.0]]), np.array([[1.0, 0.5]])).value
    -0.25
    """
    return Parts((mean - actual).sum(axis=1), actual.sum(axis=1))


def mase(actual: Floats, mean: Floats, past: Floats, season: int = 7) -> Parts:
    """Mean absolute scaled error (Hyndman and Koehler 2006): each series' mean |error| over that of repeating its past
    season by season. Series whose past does not vary do not count.
    """
    scale = np.abs(past[:, season:] - past[:, :-season]).mean(axis=1)
    return _scaled(np.abs(actual - mean).mean(axis=1), scale)


def rmsse(actual: Floats, mean: Floats, past: Floats, season: int = 7) -> Parts:
    """Root mean squared scaled error (Makridakis et al. 2022, M5), scaled as `mase` is; series weigh alike."""
    scale = np.sqrt(((past[:, season:] - past[:, :-season]) ** 2).mean(axis=1))
    return _scaled(np.sqrt(((actual - mean) ** 2).mean(axis=1)), scale)


def pinball(actual: Floats, quantiles: Floats, levels: Floats) -> Parts:
    """Mean pinball loss over quantile levels (Koenker and Bassett 1978), per series and day.

    Args:
        actual: (S, D).
        quantiles: (levels, S, D).
        levels: In (0, 1).
    """
    level = np.asarray(levels, dtype=np.float64)[:, None, None]
    missed = actual[None] - quantiles
    loss = np.maximum(level * missed, (level - 1) * missed).mean(axis=0)
    return Parts(loss.sum(axis=1), np.full(len(actual), float(actual.shape[1])))


def coverage(actual: Floats, low: Floats, high: Floats) -> Parts:
    """The share of series and days whose actual lies in [low, high]."""
    inside = (actual >= low) & (actual <= high)
    return Parts(inside.sum(axis=1).astype(np.float64), np.full(len(actual), float(actual.shape[1])))


def over_series(parts: Parts, level: float = 0.95, seed: int = 0) -> Range:
    """A measure with its percentile interval over series drawn with replacement."""
    drawn = _drawn([parts], seed)[:, 0]
    return Range(parts.value, *_interval(drawn, level))


def difference(first: Parts, second: Parts, level: float = 0.95, seed: int = 0) -> Range:
    """First less second with its interval, the same series drawn for both.

    Raises:
        DataError: if they are measures of other series.
    """
    if len(first.above) != len(second.above):
        raise DataError(f"compare: {len(first.above)} series against {len(second.above)}; both must be of the same.")
    drawn = _drawn([first, second], seed)
    return Range(first.value - second.value, *_interval(drawn[:, 0] - drawn[:, 1], level))


def _scaled(error: Floats, scale: Floats) -> Parts:
    counts = scale > 0
    return Parts(np.where(counts, error / np.where(counts, scale, 1.0), 0.0), counts.astype(np.float64))


def _drawn(measures: list[Parts], seed: int) -> Floats:
    """(draws, measures)."""
    rng, n = np.random.default_rng(seed), len(measures[0].above)
    columns = np.stack([column for parts in measures for column in parts], axis=1)
    found = [
        rng.multinomial(n, np.full(n, 1 / n), size=AT_ONCE).astype(np.float64) @ columns
        for _ in range(DRAWS // AT_ONCE)
    ]
    sums = np.concatenate(found).reshape(DRAWS, len(measures), 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def _interval(drawn: Floats, level: float) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 2:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
