"""How much demand changes because of a price, from a log whose sellers knew more than the log's reader.

Sellers ask more when they see demand coming. A demand curve read off such a log, by a regression or by a network, mixes
what a price does with why it was set. Double machine learning (Chernozhukov et al. 2018) predicts sales and prices from
what the log tells of the moment, and regresses what is left of the one on what is left of the other:

    q = theta t + g(W) + e,    t = m(W) + v        theta = sum v (q - l(W)) / sum v^2,   l(W) = E[q | W]

with l and m fitted on other requests than they are read on (their eqs. 1.1, 1.2 and 4.4). What moves prices *and* sales
and is not in W stays in theta; no method mends that.

Legend: rows are impressions; W is (rows, k), its first column the number of a cell: a like (category) in a week.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, RunError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
WEEK = 7 * 86_400
FOLDS = 5
LEAST_SPREAD = 1e-3
"""Standard deviation of log prices within an item's cell below which nothing can be told."""
PRIOR = 5.0
"""Impressions that a past rate is shrunk towards the mean by."""


class Rows(NamedTuple):
    """The impressions that an elasticity is estimated on, in the order of their times."""

    item: Integers
    request: Integers
    price: Floats
    week: Integers
    like: Integers
    sold: dict[str, Floats]
    """click, purchase -> 0 or 1."""
    position: Floats


def rows_of(scorer: Scorer, like: Integers | None) -> Rows:
    """The training rows of a run's log.

    Raises:
        RunError: if the log tells no time, whose weeks are what prices and demand have in common.
    """
    data = scorer.assembly.data
    store = data.store
    if not store.has("time"):
        raise RunError(
            f"run={scorer.folder}: correct=dml needs the time of each impression (source.time), and its log tells none."
        )
    rows = data.rows("train")
    price = store.column("price")[rows].astype(np.float64)
    rows = rows[np.isfinite(price) & (price > 0)]
    time = store.column("time")[rows].astype(np.float64)
    rows = rows[np.argsort(time, kind="stable")]
    item, request = store.column("item")[rows].astype(np.int64), store.requests_of(rows)
    binary = scorer.funnel.binary
    sold = {
        "click": (store.column(binary[0].name)[rows] == 1).astype(np.float64),
        "purchase": (store.column(binary[-1].name)[rows] == 1).astype(np.float64),
    }
    price, time = store.column("price")[rows].astype(np.float64), store.column("time")[rows].astype(np.float64)
    place = store.column("position")[rows].astype(np.float64) if store.has("position") else np.zeros(len(rows))
    store.release()
    week = ((time - time.min()) // WEEK).astype(np.int64)
    return Rows(item, request, price, week, item if like is None else like[item], sold, place)


class Estimate(NamedTuple):
    """A value, its standard error and 95% interval; NaN where it cannot be had."""

    value: float
    error: float = float("nan")

    @property
    def low(self) -> float:
        """Its lower end."""
        return self.value - 1.96 * self.error

    @property
    def high(self) -> float:
        """Its upper end."""
        return self.value + 1.96 * self.error


@dataclass(frozen=True)
class Effect:
    """Percent that sales change by for a percent of the price, as one way of reading the log tells it."""

    click: Estimate
    purchase: Estimate


def naive(rows: Rows) -> Effect:
    """The within-item regression: each item's own mean taken off sales and log prices, and nothing else."""
    found = {}
    for name, sold in rows.sold.items():
        found[name] = _ratio(_within(sold, rows.item), _within(np.log(rows.price), rows.item), sold, rows.item)
    return Effect(**found)


def double_ml(rows: Rows, seed: int = 0) -> Effect:
    """Double machine learning (econml's LinearDML, a constant effect), cross-fitted by request.

    The treatment is the log price less its item's mean; W: the like's week, the item's sales of before, its usual
    price, and the place on the page. Intervals are clustered by item, whose week has one price.

    Raises:
        ConfigError: if econml is not installed.
        RunError: if prices hardly move within a like's week.
    """
    try:
        from econml.dml import LinearDML
    except ModuleNotFoundError:
        raise ConfigError(
            "correct=dml needs a package that is not installed: pip install 'funneltune[causal]'."
        ) from None
    treatment, controls = _within(np.log(rows.price), rows.item), told(rows)
    if float(np.std(CellRegression().fit(controls, treatment).left(controls, treatment))) < LEAST_SPREAD:
        raise RunError(
            "correct=dml: the log's prices hardly move within a week of their like, so that nothing tells what they "
            "do; try prices at random for some weeks, or use correct=none."
        )
    found = {}
    for name, sold in rows.sold.items():
        if not sold.any():
            raise RunError(f"correct=dml: the training rows hold no {name}; nothing tells what prices do to it.")
        model = LinearDML(model_y=CellRegression(), model_t=CellRegression(), cv=FOLDS, random_state=seed)
        model.fit(sold, treatment, X=None, W=controls, groups=rows.request, cache_values=True, inference=None)
        left_sold, left_price, _, left_controls = model.residuals_
        order = np.argsort(left_controls[:, -1])  # econml has the folds one after the other
        found[name] = _ratio(left_sold[order], left_price[order], sold, rows.item, float(model.intercept_))
    return Effect(**found)


def told(rows: Rows) -> Floats:
    """(rows, k) W: what the log tells of the moment. Its last column is the row's number, which no model reads."""
    _, cell = np.unique(rows.like * (rows.week.max() + 1) + rows.week, return_inverse=True)
    _, item = np.unique(rows.item, return_inverse=True)
    before = [_before(sold, item, rows.week) for sold in rows.sold.values()]
    usual = np.log(rows.price) - _within(np.log(rows.price), rows.item)
    return np.column_stack([cell, *before, usual, np.log1p(rows.position), np.arange(len(item))]).astype(np.float64)


class CellRegression:
    """Least squares on W with an own level for every cell: what is within cells is regressed, a cell has its mean.

    A scikit-learn estimator by its methods. The first column of W is the cell, the last is left out.
    """

    def __init__(self) -> None:
        self.level: Floats = np.zeros(0)
        self.centre: Floats = np.zeros((0, 0))
        self.slope: Floats = np.zeros(0)
        self.middle: Floats = np.zeros(0)
        self.mean = 0.0

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """None, which scikit-learn's clone asks for."""
        return {}

    def set_params(self, **params: Any) -> CellRegression:
        """Itself."""
        return self

    def fit(self, W: Floats, target: Floats, **_: Any) -> CellRegression:
        """Fit to (rows,) targets."""
        cell, values = W[:, 0].astype(np.int64), W[:, 1:-1]
        target = np.asarray(target, dtype=np.float64).ravel()
        count = np.bincount(cell)
        share = np.maximum(count, 1)
        self.mean, self.middle = float(target.mean()), np.asarray(values.mean(axis=0), dtype=np.float64)
        self.level = np.where(count, np.bincount(cell, target) / share, self.mean)
        sums = np.stack([np.bincount(cell, column) for column in values.T], axis=1)
        self.centre = np.where(count[:, None], sums / share[:, None], self.middle)
        within = values - self.centre[cell]
        self.slope = np.asarray(np.linalg.lstsq(within, target - self.level[cell], rcond=None)[0], dtype=np.float64)
        return self

    def predict(self, W: Floats) -> Floats:
        """(rows,); a cell that was not fitted counts as the mean one."""
        cell, values = W[:, 0].astype(np.int64), W[:, 1:-1]
        known = cell < len(self.level)
        at = np.where(known, cell, 0)
        level = np.where(known, self.level[at], self.mean)
        centre = np.where(known[:, None], self.centre[at], self.middle)
        return np.asarray(level + (values - centre) @ self.slope)

    def left(self, W: Floats, target: Floats) -> Floats:
        """What it does not explain."""
        return np.asarray(target - self.predict(W))


def _ratio(sold: Floats, price: Floats, whole: Floats, cluster: Integers, theta: float | None = None) -> Estimate:
    """Elasticity: theta / mean sales, theta being the slope of residual sales on residual log prices; its error from
    the influence of each cluster (delta method).
    """
    sold, price = np.ravel(sold), np.ravel(price)
    square, mean = float((price**2).mean()), float(whole.mean())
    if square == 0 or mean == 0:
        return Estimate(float("nan"))
    theta = float((price * sold).mean() / square) if theta is None else theta
    estimate = theta / mean
    influence = (price * (sold - theta * price) / square - estimate * (whole - mean)) / mean
    _, number = np.unique(cluster, return_inverse=True)
    totals = np.bincount(number, influence)
    clusters = len(totals)
    error = float(np.sqrt((totals**2).sum() * clusters / max(clusters - 1, 1)) / len(sold))
    return Estimate(estimate, error)


def _within(values: Floats, group: Integers) -> Floats:
    """Values less their group's mean."""
    _, number = np.unique(group, return_inverse=True)
    return np.asarray(values - (np.bincount(number, values) / np.bincount(number))[number])


def _before(sold: Floats, item: Integers, week: Integers) -> Floats:
    """(rows,) each item's sales per impression in the week before, shrunk to the mean."""
    weeks = int(week.max()) + 1
    cell = item * weeks + week
    size = (int(item.max()) + 1) * weeks
    count, total = np.bincount(cell, minlength=size), np.bincount(cell, sold, minlength=size)
    rate = (total + PRIOR * sold.mean()) / (count + PRIOR)
    return np.asarray(np.where(week > 0, rate[np.maximum(cell - 1, 0)], sold.mean()))
