"""Measures group by group, with intervals over clusters, and whether a group differs from as many others of its kind.

Legend: N rows, C clusters (shoppers), E entities that have a group (items, or shoppers), G groups, B draws.

Two questions are kept apart. The *interval* of a group's value is over shoppers, drawn with replacement: how far would
it be elsewhere, for the same items? The *p-value* deals the groups' names out anew among the entities, each group
keeping its number of them: how often would an arbitrary set of as many items (or shoppers) be as far from the median
group? (From the median, for beside one group that is far off all others are off the whole.)
Only the second holds its level where items differ for reasons of their own: one bestseller makes a seller stand out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

from funneltune.metrics.discrimination import placements
from funneltune.metrics.intervals import holm
from funneltune.metrics.scaling import logits
from funneltune.metrics.ties import (
    Floats,
    checked_labels,
    checked_probabilities,
    checked_scores,
    checked_weights,
    same_length,
)

Integers = NDArray[np.int64]
AT_ONCE = 2_000_000
"""Cluster weights that are held at once."""
FARTHEST = 10.0
"""Log odds that a shift moves at most."""


def gini(values: ArrayLike) -> float:
    """How unequal shares are: 0 where all are the same, near 1 where one has everything.

    sum_i (2 i - n - 1) x_i / (n sum x), x ascending.

    >>> gini([1, 1, 1]), gini([0, 0, 0, 1])
    (0.0, 0.75)
    """
    x = np.sort(checked_weights(values, "shares"))
    n, total = len(x), float(x.sum())
    if total <= 0:
        return float("nan")
    return float(((2 * np.arange(1, n + 1) - n - 1) * x).sum() / (n * total))


def group_aucs(label: ArrayLike, score: ArrayLike, group: ArrayLike, n_groups: int) -> Floats:
    """(G,) the AUC among each group's own rows, ties one half; NaN where one class is absent."""
    return Area.of("auc", label, score).values(np.asarray(group, dtype=np.int64), n_groups)


def logit_shift(label: ArrayLike, p: ArrayLike, spread: float = 0.5) -> float:
    """The b of sigmoid(logit p + b) that makes a group's predictions add up to what happened, drawn towards 0.

    sum sigmoid(z + b) - sum y + b / spread^2 = 0: the largest likelihood under a normal prior of this spread, in log
    odds. A group with few events moves little. Without rows it is 0.
    """
    y, q = checked_labels(label), checked_probabilities(p)
    same_length(label=y, p=q)
    if len(y) == 0:
        return 0.0
    z, happened = logits(q), float(y.sum())

    def slope(b: float) -> float:
        return float(expit(z + b).sum()) - happened + b / spread**2

    if slope(-FARTHEST) >= 0 or slope(FARTHEST) <= 0:
        return FARTHEST if slope(FARTHEST) <= 0 else -FARTHEST
    return float(brentq(slope, -FARTHEST, FARTHEST, xtol=1e-10))


class Measure(Protocol):
    """Something that every group has a value of."""

    @property
    def name(self) -> str:
        """As tables have it."""
        ...

    def values(self, group: Integers, n_groups: int) -> Floats:
        """(G,) from (N,) groups of rows."""
        ...

    def apart(self, values: Floats) -> Floats:
        """(..., G) how far values are from the groups' median; 0 where they are the same."""
        ...

    def drawn(self, cluster: Integers, group: Integers, n_groups: int, draws: int, seed: int) -> Floats:
        """(B, G) values over clusters drawn with replacement."""
        ...

    def shuffled(self, entity: Integers, of_entity: Integers, n_groups: int, times: int, seed: int) -> Floats:
        """(times, G) distances (`apart`) where names of groups are dealt out anew among the entities."""
        ...


@dataclass(frozen=True)
class Ratio:
    """A ratio of two sums over rows: exposure over merit, predicted over observed, missed over positives.

    Args:
        name: As tables have it.
        above: (N,) what rows add above the line.
        below: (N,) and below.
        kind: What tells a group from the groups' median: the logarithm of the ratio of both, or their difference.
        relative: The value itself is over that of all rows, as the exposure that a group's share of merit got.
    """

    name: str
    above: Floats
    below: Floats
    kind: Literal["ratio", "difference"] = "ratio"
    relative: bool = False

    @property
    def whole(self) -> float:
        """Of all rows; 1 where values are relative to it."""
        return 1.0 if self.relative else self._whole

    @property
    def _whole(self) -> float:
        return float(_over(self.above.sum(), self.below.sum()))

    def values(self, group: Integers, n_groups: int) -> Floats:
        """See `Measure`."""
        above, below = (np.bincount(group, part, n_groups) for part in (self.above, self.below))
        found = _over(above, below)
        return found / self._whole if self.relative else found

    def apart(self, values: Floats) -> Floats:
        """See `Measure`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _from_median(values if self.kind == "difference" else np.log(values))

    def drawn(self, cluster: Integers, group: Integers, n_groups: int, draws: int, seed: int) -> Floats:
        """See `Measure`."""
        parts = [_by_cluster(cluster, group, part, n_groups) for part in (self.above, self.below)]
        above, below = np.split(_resampled(np.concatenate(parts, axis=1), draws, seed), 2, axis=1)
        found = _over(above, below)
        return found / _over(above.sum(1, keepdims=True), below.sum(1, keepdims=True)) if self.relative else found

    def shuffled(self, entity: Integers, of_entity: Integers, n_groups: int, times: int, seed: int) -> Floats:
        """See `Measure`."""
        above, below = (np.bincount(entity, part, len(of_entity)) for part in (self.above, self.below))
        rng, found = np.random.default_rng(seed), np.empty((times, n_groups))
        for time in range(times):
            dealt = rng.permutation(of_entity)
            found[time] = _over(np.bincount(dealt, above, n_groups), np.bincount(dealt, below, n_groups))
        return self.apart(found / self._whole if self.relative else found)


@dataclass(frozen=True)
class Area:
    """AUC among a group's own rows. Made by `of`."""

    name: str
    label: Floats
    score: Floats
    order: Integers
    """(N,) rows by score, ascending."""
    tie: Integers
    """(N,) in that order: a number for each different score."""

    @classmethod
    def of(cls, name: str, label: ArrayLike, score: ArrayLike) -> Area:
        """Labels 0 or 1, any finite scores."""
        y, s = checked_labels(label), checked_scores(score)
        same_length(label=y, score=s)
        order = np.argsort(s, kind="stable").astype(np.int64)
        tie = np.cumsum(np.concatenate([[0], np.diff(s[order]) != 0])).astype(np.int64)[: len(s)]
        return cls(name, y, s, order, tie)

    @property
    def whole(self) -> float:
        """Of all rows."""
        return float(self.values(np.zeros(len(self.label), dtype=np.int64), 1)[0])

    def values(self, group: Integers, n_groups: int) -> Floats:
        """See `Measure`."""
        if not len(self.label):
            return np.full(n_groups, np.nan)
        by_score = group[self.order].astype(np.int16 if n_groups < 2**15 else np.int64)
        place = np.argsort(by_score, kind="stable")
        g, tie, y = by_score[place].astype(np.int64), self.tie[place], self.label[self.order][place]
        starts = np.flatnonzero(np.concatenate([[True], (np.diff(g) != 0) | (np.diff(tie) != 0)]))
        positive, negative = np.add.reduceat(y, starts), np.add.reduceat(1.0 - y, starts)
        of_block = g[starts]
        total = np.bincount(of_block, negative, n_groups)
        below = np.cumsum(negative) - negative - (np.cumsum(total) - total)[of_block]
        won = np.bincount(of_block, positive * (below + 0.5 * negative), n_groups)
        return _over(won, total * np.bincount(of_block, positive, n_groups))

    def apart(self, values: Floats) -> Floats:
        """See `Measure`."""
        return _from_median(values)

    def drawn(self, cluster: Integers, group: Integers, n_groups: int, draws: int, seed: int) -> Floats:
        """See `Measure`; linearised as in `resample`: a cluster brings its placements among all rows of its group."""
        above, below = np.zeros(len(group)), np.zeros(len(group))
        for number in range(n_groups):
            rows = np.flatnonzero(group == number)
            placed = placements(self.score[rows], self.label[rows], 1.0 - self.label[rows])
            above[rows] = np.where(self.label[rows] == 1, placed.among_negatives, 0.0)
            below[rows] = np.where(self.label[rows] == 0, placed.among_positives, 0.0)
        parts = [_by_cluster(cluster, group, part, n_groups) for part in (above, self.label, below, 1.0 - self.label)]
        totals = np.split(_resampled(np.concatenate(parts, axis=1), draws, seed), 4, axis=1)
        return _over(totals[0], totals[1]) + _over(totals[2], totals[3]) - self.values(group, n_groups)

    def shuffled(self, entity: Integers, of_entity: Integers, n_groups: int, times: int, seed: int) -> Floats:
        """See `Measure`."""
        rng = np.random.default_rng(seed)
        return np.stack([self.apart(self.values(rng.permutation(of_entity)[entity], n_groups)) for _ in range(times)])


class GroupValues(NamedTuple):
    """One measure of every group; arrays are (G,)."""

    value: Floats
    low: Floats
    high: Floats
    """95% over clusters."""
    apart: Floats
    """From the groups' median: of a ratio the difference of logarithms."""
    p_value: Floats
    p_holm: Floats
    """Corrected over the groups."""
    whole: float


def by_group(
    measure: Measure,
    cluster: Integers,
    entity: Integers,
    of_entity: Integers,
    n_groups: int,
    draws: int = 1000,
    times: int = 1000,
    seed: int = 0,
) -> GroupValues:
    """A measure of every group: values, percentile intervals over clusters, and permutation p-values.

    p = 2 min(1 + #(as far above), 1 + #(as far below)) / (1 + times), at most 1 (Phipson and Smyth 2010), then Holm.

    Args:
        measure: What is measured.
        cluster: (N,) independent of one another: shoppers, from 0.
        entity: (N,) what the groups are made of: an item's or a shopper's number, from 0.
        of_entity: (E,) the group of each entity.
        n_groups: G.
        draws: Of the interval.
        times: How often groups' names are dealt out; the least p is 2 / (1 + times).
        seed: Of both.
    """
    group = of_entity[entity]
    value = measure.values(group, n_groups)
    with np.errstate(invalid="ignore"):
        drawn = measure.drawn(cluster, group, n_groups, draws, seed)
        low, high = (_quantile(drawn, at) for at in (0.025, 0.975))
        apart = measure.apart(value)
        chance = measure.shuffled(entity, of_entity, n_groups, times, seed)
        # what has no value speaks for neither side
        above, below = (~(chance < apart)).sum(axis=0), (~(chance > apart)).sum(axis=0)
    p = np.minimum(1.0, 2.0 * (1 + np.minimum(above, below)) / (1 + times))
    p = np.where(np.isnan(apart), np.nan, p)
    whole = float(measure.values(np.zeros_like(group), 1)[0])
    return GroupValues(value, low, high, apart, p, holm(p), whole)


def _quantile(drawn: Floats, at: float) -> Floats:
    """Over draws that have a value; NaN where fewer than nine in ten have."""
    there = np.isfinite(drawn)
    found = np.full(drawn.shape[1], np.nan)
    for number in np.flatnonzero(there.mean(axis=0) >= 0.9):
        found[number] = np.quantile(drawn[there[:, number], number], at)
    return found


def _from_median(values: Floats) -> Floats:
    """Values without one (nothing happened) are of no group."""
    there = np.where(np.isfinite(values), values, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no group has a value
        return np.asarray(values - np.nanmedian(there, axis=-1, keepdims=True), dtype=np.float64)


def _over(above: ArrayLike, below: ArrayLike) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(above, below), dtype=np.float64)


def _by_cluster(cluster: Integers, group: Integers, part: Floats, n_groups: int) -> Floats:
    """(C, G) sums."""
    size = int(cluster.max()) + 1
    found = np.bincount(cluster * n_groups + group, part, size * n_groups).reshape(size, n_groups)
    return np.asarray(found, dtype=np.float64)


def _resampled(parts: Floats, draws: int, seed: int) -> Floats:
    """(draws, K) sums of (C, K) parts over clusters drawn with replacement; the same draws for the same C and seed."""
    n = len(parts)
    rng, found = np.random.default_rng(seed), np.empty((draws, parts.shape[1]))
    step = max(1, AT_ONCE // n)
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        picked = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
        times = np.bincount(picked.ravel(), minlength=rows * n).reshape(rows, n)
        found[start : start + rows] = times.astype(np.float64) @ parts
    return found
