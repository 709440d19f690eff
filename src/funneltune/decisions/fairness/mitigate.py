"""Three ways to narrow a gap, over how far they are taken, and what each costs: while ranking, after and in training.

Legend: N rows, n requests, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from funneltune.decisions.exposure import Exposure
from funneltune.decisions.fairness.audit import calibration_gap, gap, measures_of
from funneltune.decisions.fairness.groups import PRICE_BAND, Groups
from funneltune.decisions.fairness.rows import Collected, Rows, Truth
from funneltune.decisions.order import REVENUE
from funneltune.decisions.recommend import Recommender
from funneltune.errors import ConfigError
from funneltune.metrics.fairness import Measure, logit_shift
from funneltune.metrics.intervals import Interval, clustered_mean
from funneltune.metrics.scaling import logits

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
EXPOSURE_WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1, 1.0)
SHIFT_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
SWEEPS = 3
PER_PAGE = "each page alone"


@dataclass(frozen=True)
class Point:
    """One way, taken so far."""

    way: str
    weight: float
    """0: as it was; NaN where a way has none."""
    gap: float
    """What is to be narrowed; see `Mitigated.of`."""
    ndcg: Interval
    """Less that of the ranking as it was, over requests where anything happened, clustered by shopper."""
    purchases: Interval | None
    """Likewise, expected by the world's truth; None where no one knows it."""
    rows: Rows
    """With this way's predictions and places."""


@dataclass(frozen=True)
class Mitigated:
    """A way, its points from none to all, and what it has to hand on."""

    way: str
    of: str
    """What the gap is."""
    start: float
    """The gap as it was."""
    points: list[Point]
    shifts: list[tuple[str, str, float]]
    """Column, group, log odds to add: what group-wise calibration is; empty elsewhere."""

    @property
    def best(self) -> Point:
        """The smallest gap."""
        return min(self.points, key=lambda point: point.gap)


class Costs:
    """What pages bring, against the audited ranking's on the same requests."""

    def __init__(self, rows: Rows, truth: Truth | None) -> None:
        self.rows, self.truth = rows, truth
        self.ndcg = rows.ndcg(rows.place)
        self.purchases = None if truth is None else truth.purchases(rows.place)

    def point(self, way: str, weight: float, gap: float, rows: Rows) -> Point:
        """With the differences that its places make."""
        change = rows.ndcg(rows.place) - self.ndcg
        there = np.isfinite(change)
        cluster = self.rows.cluster_of_request
        bought = None
        if self.truth is not None and self.purchases is not None:
            bought = clustered_mean(self.truth.purchases(rows.place) - self.purchases, cluster)
        return Point(way, weight, gap, clustered_mean(change[there], cluster[there]), bought, rows)


def exposed(collected: Collected, groups: Groups, costs: Costs) -> Mitigated:
    """Exposure in proportion to merit, over the weight of the constraint; and page by page (`ranking.exposure`).

    Raises:
        ConfigError: if the groups are shoppers', or the ranking has rules that the constraint would break.
    """
    rows = collected.rows
    if groups.side != "item":
        raise ConfigError(f"mitigate=exposure gives items their places, and by={groups.column} groups shoppers.")
    _require_plain(collected, "exposure")
    points = []
    for weight in EXPOSURE_WEIGHTS:
        placed = replace(rows, place=controlled(rows, groups, weight))
        points.append(costs.point("over all pages", weight, gap(rows, groups, placed.place, rows.value), placed))
    if groups.column != PRICE_BAND:
        column = groups.column.removeprefix("item.")
        ranking = replace(collected.recommender.ranking, exposure=Exposure(column, "merit"))
        placed = replace(rows, place=collected.place(Recommender(collected.recommender.scorer, ranking)))
        points.append(costs.point(PER_PAGE, float("nan"), gap(rows, groups, placed.place, rows.value), placed))
    told = f"exposure that would have to change hands between groups of {groups.column} (share)"
    return Mitigated("exposure", told, gap(rows, groups, rows.place, rows.value), points, [])


def controlled(rows: Rows, groups: Groups, weight: float) -> Integers:
    """(N,) places of pages that pay back what groups are owed so far: a proportional controller over requests.

    After FairCo (Morik et al. 2020, eq. 12): an item's score is its value plus weight x mean value x owed, with owed
    the exposure that its group's share of merit would have had so far, less what it got, in first places. Merit and
    mean are those of the requests before.
    """
    n_groups, group = len(groups.names), groups.of_row
    exposure, merit = np.zeros(n_groups), np.zeros(n_groups)
    discount = 1.0 / np.log2(np.arange(2, rows.top + 2))
    place, counted = np.zeros(len(group), dtype=np.int64), 0
    for start, end in zip(rows.starts, np.append(rows.starts[1:], len(group)), strict=True):
        value, of = rows.value[start:end], group[start:end]
        score = value
        if counted and merit.sum() > 0:
            owed = exposure.sum() * merit / merit.sum() - exposure
            score = value + weight * merit.sum() / counted * owed[of]
        chosen = np.argsort(-score, kind="stable")[: rows.top]
        place[start + chosen] = np.arange(1, len(chosen) + 1)
        exposure += np.bincount(of[chosen], discount[: len(chosen)], n_groups)
        merit += np.bincount(of, value, n_groups)
        counted += end - start
    return place


def calibrated(
    collected: Collected, validation: Rows, groups: Sequence[Groups], told: Sequence[Groups], costs: Costs, rate: str
) -> Mitigated:
    """Each group's log odds shifted, over how much of the shift is taken.

    Multicalibration in its simplest form (Hebert-Johnson et al. 2018): columns one after the other, `SWEEPS` times,
    each group's shift fitted to what is left (`logit_shift`) on validation rows, so that the groups of *every* column
    add up, and with them the overlaps of several.

    Args:
        collected: The test rows.
        validation: What shifts are fitted to.
        groups: Of the test rows.
        told: The same groups of the validation rows.
        costs: Of pages.
        rate: Whose predictions are shifted.

    Raises:
        ConfigError: if pages are not ranked by this rate, or by all of the funnel.
    """
    _require_plain(collected, "calibrate")
    worth = collected.recommender.worth
    by = [worth.joint if name == REVENUE else name for name in worth.weights]
    if by != [rate] and by != [worth.joint]:  # a joint rate is a product, and each factor scales it
        raise ConfigError(
            f"mitigate=calibrate shifts rate={rate}, and pages are ranked by {' + '.join(worth.weights)}; rank by it "
            "or name the rate that they are ranked by."
        )
    rows = collected.rows
    shifts = fitted(validation, told)
    moved = sum((shift[one.of_row] for one, shift in zip(groups, shifts, strict=True)), np.zeros(len(rows.p)))
    points = []
    for weight in SHIFT_WEIGHTS:
        p = expit(logits(rows.p) + weight * moved)
        value = rows.value * p / np.maximum(rows.p, 1e-12)
        points.append(
            costs.point(
                "shifted log odds",
                weight,
                calibration_gap(rows, groups, p),
                replace(rows, p=p, place=rows.placed(value)),
            )
        )
    listed = [
        (one.column, name, float(shift[number]))
        for one, shift in zip(groups, shifts, strict=True)
        for number, name in enumerate(one.names)
    ]
    return Mitigated("calibrate", _CALIBRATION, calibration_gap(rows, groups, rows.p), points, listed)


_CALIBRATION = "sum over groups of |predicted - observed|, as a share of what was observed, the mean over columns"


def fitted(rows: Rows, groups: Sequence[Groups]) -> list[Floats]:
    """For each column (G,) log odds to add; -1 among the groups of rows is none of them."""
    shifts = [np.zeros(len(one.names)) for one in groups]
    of_row = [one.of_row for one in groups]
    z, label, known = logits(rows.p), rows.label, rows.known
    for _ in range(SWEEPS):
        for shift, group in zip(shifts, of_row, strict=True):
            for number in range(len(shift)):
                at = known & (group == number)
                found = logit_shift(label[at], expit(z[at]))
                shift[number] += found
                z = np.where(group == number, z + found, z)
    return shifts


def reweighted(
    rows: Rows, others: Mapping[str, tuple[float, Rows]], groups: Sequence[Groups], costs: Costs
) -> Mitigated:
    """Runs trained with weights by group, against this one on the same requests.

    Args:
        rows: This run's.
        others: Name -> the power of its weights, its rows.
        groups: Of the rows.
        costs: Of pages.
    """
    points = [
        costs.point(
            name,
            weight,
            calibration_gap(rows, groups, other.p),
            replace(other, value=rows.value),  # the same merit for both
        )
        for name, (weight, other) in sorted(others.items(), key=lambda one: one[1][0])
    ]
    return Mitigated("reweight", _CALIBRATION, calibration_gap(rows, groups, rows.p), points, [])


@dataclass(frozen=True)
class Change:
    """One measure of one group, before and after."""

    column: str
    group: str
    measure: str
    before: float
    after: float
    low: float
    high: float
    """Of after less before: 95% over shoppers drawn alike for both."""


def changes(before: Rows, after: Rows, groups: Groups, draws: int, seed: int) -> list[Change]:
    """Every measure of every group that a mitigation moved."""
    found = []
    pairs = zip(measures_of(before, groups.side), measures_of(after, groups.side), strict=True)
    for (one, kept), (other, _) in pairs:
        values, drawn = zip(*(_drawn(of, before, groups, kept, draws, seed) for of in (one, other)), strict=True)
        if np.array_equal(values[0], values[1], equal_nan=True):
            continue
        apart = drawn[1] - drawn[0]
        for number, name in enumerate(groups.names):
            there = apart[np.isfinite(apart[:, number]), number]
            low, high = np.quantile(there, (0.025, 0.975)) if len(there) >= 0.9 * draws else (np.nan, np.nan)
            found.append(
                Change(
                    groups.column,
                    name,
                    one.name,
                    float(values[0][number]),
                    float(values[1][number]),
                    float(low),
                    float(high),
                )
            )
    return found


def _drawn(measure: Measure, rows: Rows, groups: Groups, kept: Any, draws: int, seed: int) -> tuple[Floats, Floats]:
    group, n_groups = groups.of_row[kept], len(groups.names)
    return measure.values(group, n_groups), measure.drawn(rows.cluster[kept], group, n_groups, draws, seed)


def _require_plain(collected: Collected, way: str) -> None:
    if not collected.recommender.ranking.is_plain:
        raise ConfigError(
            f"mitigate={way} places items by their value anew, which would break the rules, diversity or exposure of "
            "ranking=; leave ranking= out, or mitigate=none."
        )
