"""How good the top of each request's list is: NDCG, MRR, recall and expected purchases.

Ties are broken by expectation: rows of equal score share the average over their orders, exactly (McSherry & Najork
2008), so that neither row order nor luck moves a value, and a constant score gets what a random order would.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from funneltune.errors import DataError
from funneltune.metrics.ties import (
    Floats,
    Indices,
    block_lengths,
    block_starts,
    checked_labels,
    checked_probabilities,
    checked_scores,
    checked_weights,
    dense_groups,
    same_length,
    sum_by,
)


class RequestMean(NamedTuple):
    """A value per request (NaN where the request is skipped), in the order of the sorted request ids."""

    values: Floats

    @property
    def mean(self) -> float:
        """Mean over the requests that count; NaN where none does."""
        return float(self.values[self.counted].mean()) if self.counted.any() else float("nan")

    @property
    def counted(self) -> np.ndarray:
        """Requests that count."""
        return ~np.isnan(self.values)


class RankedLists:
    """The rows of each request, best score first.

    Args:
        request: Request id per row, of any type that sorts.
        score: Finite score per row.
    """

    def __init__(self, request: ArrayLike, score: ArrayLike) -> None:
        s = checked_scores(score)
        self.index, self.n_requests = dense_groups(request)
        self.rows = same_length(request=self.index, score=s)
        self.order: Indices = np.lexsort((-s, self.index)).astype(np.int64)
        group = self.index[self.order]
        self.starts = block_starts(group)
        self.lengths = block_lengths(self.starts, self.rows)
        self.block_starts = block_starts(group, s[self.order])
        self.block_lengths = block_lengths(self.block_starts, self.rows)
        self.block_request = group[self.block_starts]
        self.block_first = self.block_starts - self.starts[self.block_request]

    @property
    def longest(self) -> int:
        """Rows of the longest list."""
        return int(self.lengths.max()) if self.n_requests else 0

    def checked(self, gain: ArrayLike) -> Floats:
        """One gain >= 0 per row. Raises DataError otherwise."""
        g = checked_weights(gain, "gain")
        same_length(gain=g, score=self.order)
        return g

    def expected_sum(self, gain: ArrayLike, position_weight: Floats) -> Floats:
        """Per request: the sum of gain x weight of its position, averaged over the orders of tied rows.

        `position_weight` holds the weight of positions 0, 1, ...; positions beyond it weigh nothing.
        """
        g = self.checked(gain)
        if not self.rows:
            return np.zeros(0)
        cumulative = np.concatenate([[0.0], np.cumsum(position_weight)])
        last = len(position_weight)
        ends = self.block_first + self.block_lengths
        weight = cumulative[np.minimum(ends, last)] - cumulative[np.minimum(self.block_first, last)]
        block_gain = np.add.reduceat(g[self.order], self.block_starts) / self.block_lengths
        return sum_by(self.block_request, weight * block_gain, self.n_requests)

    def total(self, gain: ArrayLike) -> Floats:
        """Per request: the sum over all its rows."""
        return sum_by(self.index, self.checked(gain), self.n_requests)

    def best_sum(self, gain: ArrayLike, position_weight: Floats) -> Floats:
        """Per request: `expected_sum` when sorted by the gain itself; weights must not rise with the position."""
        g = self.checked(gain)
        if not self.rows:
            return np.zeros(0)
        order = np.lexsort((-g, self.index))
        position = np.arange(self.rows) - np.repeat(self.starts, self.lengths)
        weights = np.zeros(max(self.longest, len(position_weight)))
        weights[: len(position_weight)] = position_weight
        return sum_by(self.index[order], g[order] * weights[position], self.n_requests)


def discounts(k: int) -> Floats:
    """1 / log2(1 + rank) of the first k ranks (Jarvelin & Kekalainen 2002, as used since Burges et al. 2005)."""
    return 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))


def ndcg(lists: RankedLists, gain: ArrayLike, k: int) -> RequestMean:
    """DCG of the first k over the best possible; requests without any gain are skipped.

    A request whose rows all have the same gain has an NDCG of 1 under any order: `indifferent` names them.
    """
    weight = discounts(min(_depth(k), max(lists.longest, 1)))
    best = lists.best_sum(gain, weight)
    value = np.full(lists.n_requests, np.nan)
    np.divide(lists.expected_sum(gain, weight), best, out=value, where=best > 0)
    return RequestMean(value)


def _depth(k: int) -> int:
    if k < 1:
        raise DataError(f"metrics.ks: k={k} must be >= 1; 10 is usual.")
    return k


def exponential_gain(grade: ArrayLike, lowest: float | None = None) -> Floats:
    """2^(grade - lowest) - 1: graded judgments as gains; `lowest` (of the log, if None) gains nothing."""
    g = checked_scores(grade, "grade")
    floor = lowest if lowest is not None else (float(g.min()) if len(g) else 0.0)
    return np.asarray(np.exp2(g - floor) - 1.0, dtype=np.float64)


def indifferent(lists: RankedLists, gain: ArrayLike) -> np.ndarray:
    """Requests whose rows all have the same gain: no order is better than another."""
    g = lists.checked(gain)
    if not lists.rows:
        return np.zeros(0, dtype=bool)
    of_request = g[np.argsort(lists.index, kind="stable")]
    largest, smallest = (f.reduceat(of_request, lists.starts) for f in (np.maximum, np.minimum))
    return np.asarray(largest == smallest, dtype=bool)


def recall(lists: RankedLists, label: ArrayLike, k: int) -> RequestMean:
    """Share of a request's positives among its first k; requests without a positive are skipped."""
    y = checked_labels(label)
    positives = lists.total(y)
    value = np.full(lists.n_requests, np.nan)
    np.divide(lists.expected_sum(y, np.ones(_depth(k))), positives, out=value, where=positives > 0)
    return RequestMean(value)


def expected_count(lists: RankedLists, p_true: ArrayLike, k: int) -> RequestMean:
    """Events expected among the first k of a request, by the oracle's probabilities; no request is skipped."""
    return RequestMean(lists.expected_sum(checked_probabilities(p_true, "oracle p"), np.ones(_depth(k))))


def reciprocal_rank(lists: RankedLists, label: ArrayLike) -> RequestMean:
    """1 over the rank of the first positive, in expectation over ties; requests without a positive are skipped."""
    y = lists.checked(checked_labels(label))
    value = np.full(lists.n_requests, np.nan)
    if not lists.rows:
        return RequestMean(value)
    hits = np.add.reduceat(y[lists.order], lists.block_starts)
    with_hit = np.flatnonzero(hits > 0)
    requests, first = np.unique(lists.block_request[with_hit], return_index=True)
    block = with_hit[first]
    combos, which = np.unique(
        np.stack([lists.block_first[block], lists.block_lengths[block], hits[block].astype(np.int64)], axis=1),
        axis=0,
        return_inverse=True,
    )
    value[requests] = _expected_reciprocal(combos[:, 0], combos[:, 1], combos[:, 2])[which.reshape(-1)]
    return RequestMean(value)


def _expected_reciprocal(first: Indices, size: Indices, hits: Indices) -> Floats:
    """E[1 / rank of the first hit] where `hits` of `size` tied rows, that begin after `first` rows, are positive."""
    none_yet = np.ones(len(first))
    total = np.zeros(len(first))
    for step in range(int((size - hits).max(initial=0)) + 1):
        left = np.maximum(size - step, 1)
        now = np.where(step <= size - hits, np.minimum(hits / left, 1.0), 0.0)
        total += none_yet * now / (first + step + 1)
        none_yet *= 1.0 - now
    return total
