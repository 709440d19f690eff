"""How far one sample lies from another: the population stability index, and Kolmogorov's and Smirnov's distance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from funneltune.errors import DataError
from funneltune.metrics.ties import Floats, checked_scores, checked_weights, same_length

BINS = 10
"""Equally full ones, of the first sample, as the index is usually taken."""
TERMS = 100
"""Of Kolmogorov's series, which converges within a few."""


def psi(expected: ArrayLike, actual: ArrayLike) -> float:
    """The population stability index of two histograms, (bins,) counts: sum (a - e) ln(a / e), shares a and e.

    It is the sum of both Kullback-Leibler divergences: 0 where the shares agree, the same both ways. An empty bin would
    make it infinite, so half an observation is added to every bin that is not empty in both. Chance alone gives about
    (bins - 1) (1 / N + 1 / M) for N and M observations.

    Raises:
        DataError: if the lengths differ, a count is negative, or one histogram is empty.

    >>> round(psi([50, 50], [80, 20]), 3)
    0.406
    """
    e, a = checked_weights(expected, "expected"), checked_weights(actual, "actual")
    same_length(expected=e, actual=a)
    if e.sum() == 0 or a.sum() == 0:
        raise DataError("psi: a histogram is empty; both need at least one count.")
    used = (e > 0) | (a > 0)
    e, a = (counts[used] + 0.5 for counts in (e, a))
    e, a = e / e.sum(), a / a.sum()
    return float(((a - e) * np.log(a / e)).sum())


def quantile_edges(values: ArrayLike, bins: int = BINS) -> Floats:
    """(at most bins - 1,) what cuts values into bins as equally full as ties allow; `np.searchsorted(edges, x, "left")`
    tells the bin of x, which may lie outside.

    >>> quantile_edges([1, 2, 3, 4], 2)
    array([2.])
    """
    sorted_values = np.sort(checked_scores(values, "values"))
    if not len(sorted_values):
        return np.zeros(0)
    places = np.ceil(np.arange(1, bins) * len(sorted_values) / bins).astype(np.int64) - 1
    return np.unique(sorted_values[np.maximum(places, 0)])


def psi_of_numbers(expected: ArrayLike, actual: ArrayLike, bins: int = BINS) -> float:
    """The index of two samples of numbers, over bins that are equally full in the first.

    Raises:
        DataError: if one is empty or holds what is no finite number.
    """
    e, a = checked_scores(expected, "expected"), checked_scores(actual, "actual")
    edges = quantile_edges(e, bins)
    return psi(*(np.bincount(np.searchsorted(edges, x, "left"), minlength=len(edges) + 1) for x in (e, a)))


def ks(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """The largest distance of two samples' distribution functions, and how often chance alone would give as much.

    The probability is Kolmogorov's limit at sqrt(n m / (n + m)), close from some dozens of values on; ties make it too
    large. In large samples a distance that matters to nobody is improbable: look at the distance.

    Raises:
        DataError: if one is empty or holds what is no finite number.

    >>> ks([1, 2, 3, 4], [3, 4, 5, 6])[0]
    0.5
    """
    x, y = np.sort(checked_scores(first, "first")), np.sort(checked_scores(second, "second"))
    if not len(x) or not len(y):
        raise DataError("ks: a sample is empty; both need at least one value.")
    at = np.concatenate([x, y])
    distance = float(np.abs(_below(x, at) - _below(y, at)).max())
    return distance, _kolmogorov(distance * math.sqrt(len(x) * len(y) / (len(x) + len(y))))


def _below(ordered: Floats, at: Floats) -> NDArray[np.float64]:
    """Share of values not above each point."""
    return np.searchsorted(ordered, at, "right") / len(ordered)


def _kolmogorov(z: float) -> float:
    """P(K > z) = 2 sum_k (-1)^(k - 1) exp(-2 k^2 z^2)."""
    if z < 0.2:  # the series converges slowly there, to 1 within 1e-12
        return 1.0
    k = np.arange(1, TERMS + 1)
    return float(np.clip(2 * ((-1.0) ** (k - 1) * np.exp(-2 * (k * z) ** 2)).sum(), 0.0, 1.0))
