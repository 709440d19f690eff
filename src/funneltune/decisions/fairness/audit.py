"""Every measure of every group: exposure against merit, calibration, and errors.

Legend: N rows, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.fairness.groups import Groups
from funneltune.decisions.fairness.rows import Rows, seen
from funneltune.decisions.fairness.settings import Settings
from funneltune.metrics import ece
from funneltune.metrics.fairness import Area, GroupValues, Measure, Ratio, by_group, gini, group_aucs

Floats = NDArray[np.float64]
LEVEL = 0.05
EXPOSURE, BY_TRUTH, LOG, CALIBRATION, AUC, GAUC, MISSED, NDCG = (
    "exposure",
    "exposure_by_truth",
    "log_exposure",
    "predicted_over_observed",
    "auc",
    "gauc",
    "missed",
    "ndcg",
)
FINDINGS = {
    EXPOSURE: ("shown less than its merit", "shown more than its merit"),
    BY_TRUTH: ("shown less than its true worth", "shown more than its true worth"),
    LOG: ("the log showed it less than its merit", "the log showed it more than its merit"),
    CALIBRATION: ("predicted too low beside others", "predicted too high beside others"),
    AUC: ("told apart worse", "told apart better"),
    GAUC: ("ordered worse", "ordered better"),
    MISSED: ("missed less often", "missed more often"),
    NDCG: ("served worse", "served better"),
}
"""Measure -> what is said of a group below and above the rest."""
ONE_IS_FAIR = (EXPOSURE, BY_TRUTH, LOG, CALIBRATION)


@dataclass(frozen=True)
class Audited:
    """One column's groups and their measures."""

    groups: Groups
    rows: NDArray[np.int64]
    """(G,)."""
    positives: NDArray[np.int64]
    measures: dict[str, GroupValues]
    ece: Floats
    """(G,) calibration error; of few rows it is too large by chance, so it has no test."""
    gini: tuple[float, float]
    """Of the groups' shares of exposure, and of merit; NaN for shoppers."""

    def said(self, name: str, number: int) -> str:
        """What is said of a group by one measure; empty where it makes no claim.

        A claim needs both: the group is further from the median group than arbitrary sets of as many items are (5%,
        Holm-corrected over the groups), and its own interval leaves out what is fair: 1 for a ratio, else the whole's.
        """
        told = self.measures[name]
        fair = 1.0 if name in ONE_IS_FAIR else told.whole
        if not told.p_holm[number] < LEVEL or told.low[number] <= fair <= told.high[number]:
            return ""
        above = told.apart[number] > 0
        agrees = told.low[number] > fair if above else told.high[number] < fair
        return FINDINGS[name][int(above)] if agrees else ""

    def findings(self, number: int) -> list[str]:
        """All that is said of a group."""
        return [said for name in self.measures if (said := self.said(name, number))]

    @property
    def order(self) -> list[int]:
        """Groups as tables list them: by how far the first measure is from the median group, the furthest first; what
        has no value, and then the smaller ones together, stand last.
        """
        apart = np.abs(next(iter(self.measures.values())).apart)
        pooled = np.arange(len(apart)) == (len(apart) - 1 if self.groups.pooled else -1)
        return [int(at) for at in np.lexsort((np.where(np.isfinite(apart), -apart, np.inf), pooled))]

    @property
    def flagged(self) -> dict[str, list[str]]:
        """Group -> what is said of it, of those of which something is."""
        of_all = {name: self.findings(number) for number, name in enumerate(self.groups.names)}
        return {name: found for name, found in of_all.items() if found}


def audit(rows: Rows, groups: Groups, settings: Settings, worth: Floats | None = None) -> Audited:
    """All measures of one column.

    Args:
        rows: The test rows.
        groups: Of them.
        settings: For the number of draws and the seed.
        worth: (N,) what rows are worth in truth, where that is known.
    """
    n_groups, group = len(groups.names), groups.of_row
    measures = {}
    for measure, kept in measures_of(rows, groups.side, worth):
        measures[measure.name] = by_group(
            measure,
            rows.cluster[kept],
            groups.entity[kept],
            groups.code,
            n_groups,
            settings.draws,
            settings.draws,
            settings.seed,
        )
    known = rows.known
    errors = [ece(rows.label[at], rows.p[at]) for at in (known & (group == number) for number in range(n_groups))]
    shares = (float("nan"), float("nan"))
    if groups.side == "item":
        shares = (gini(np.bincount(group, rows.seen, n_groups)), gini(np.bincount(group, rows.value, n_groups)))
    return Audited(
        groups,
        np.bincount(group, minlength=n_groups),
        np.bincount(group, rows.label * known, n_groups).astype(np.int64),
        measures,
        np.array(errors),
        shares,
    )


def measures_of(rows: Rows, side: str, worth: Floats | None = None) -> list[tuple[Measure, slice | NDArray[np.bool_]]]:
    """What is measured of groups of items, or of shoppers, and on which rows.

    Exposure over merit: what a group's places are seen, over what its candidates are worth to the requests, each as a
    share of all: 1 is exposure in proportion to merit (disparate treatment of Singh and Joachims 2018, eq. 12, each
    group against the whole). Calibration: sum of p over positives. Missed: the share of positives that the page leaves
    out, its false-negative rate (equal opportunity, Hardt et al. 2016). AUC among a group's own rows; of shoppers,
    within requests (GAUC), and NDCG.
    """
    label, known, every = rows.label, rows.known, slice(None)
    missed = label * known * (rows.place == 0)
    found: list[tuple[Measure, slice | NDArray[np.bool_]]] = []
    if side == "item":
        found.append((Ratio(EXPOSURE, rows.seen, rows.value, relative=True), every))
        if worth is not None:
            found.append((Ratio(BY_TRUTH, rows.seen, worth, relative=True), every))
        found.append((Ratio(LOG, seen(rows.logged, rows.top), rows.value, relative=True), every))
    found.append((Ratio(CALIBRATION, rows.p * known, label * known), every))
    if side == "item":
        found.append((Area.of(AUC, label[known], rows.p[known]), known))
    else:
        found.append((Ratio(GAUC, *_within_requests(rows), kind="difference"), every))
    found.append((Ratio(MISSED, missed, label * known, kind="difference"), every))
    if side == "user":
        found.append((Ratio(NDCG, *_ndcg(rows), kind="difference"), every))
    return found


def gap(rows: Rows, groups: Groups, place: NDArray[np.int64], value: Floats) -> float:
    """Exposure that would have to change hands for every group to have its merit's share (total variation), 0 to 1."""
    n_groups, group = len(groups.names), groups.of_row
    exposure, merit = (np.bincount(group, part, n_groups) for part in (seen(place, rows.top), value))
    return float(np.abs(exposure / exposure.sum() - merit / merit.sum()).sum() / 2)


def calibration_gap(rows: Rows, groups: Sequence[Groups], p: Floats) -> float:
    """Sum over groups |predicted - observed| / observed of all, the mean over columns: 0 where every group's sum is
    right.
    """
    found = []
    for one in groups:
        apart = np.bincount(one.of_row, (p - rows.label) * rows.known, len(one.names))
        found.append(np.abs(apart).sum() / max(float((rows.label * rows.known).sum()), 1e-12))
    return float(np.mean(found))


def _within_requests(rows: Rows) -> tuple[Floats, Floats]:
    """(N,) each: on a request's first row, its rows times its AUC, and its rows; zeros where one class is absent."""
    at = rows.known
    found = group_aucs(rows.label[at], rows.p[at], rows.request[at], rows.n)
    size = np.bincount(rows.request[at], minlength=rows.n)
    above, below = np.zeros(len(rows.request)), np.zeros(len(rows.request))
    there = np.isfinite(found)
    above[rows.starts[there]], below[rows.starts[there]] = (found * size)[there], size[there]
    return above, below


def _ndcg(rows: Rows) -> tuple[Floats, Floats]:
    """(N,) each: on a request's first row its NDCG, and 1; zeros where nothing happened."""
    above, below = np.zeros(len(rows.request)), np.zeros(len(rows.request))
    value = rows.ndcg(rows.place)
    there = np.isfinite(value)
    above[rows.starts[there]], below[rows.starts[there]] = value[there], 1.0
    return above, below
