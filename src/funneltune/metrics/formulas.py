"""Metrics that are functions of sums over rows: correlations, F1, ratios. Their sums per cluster are what is resampled.

Totals have one column per part, in the order of `Formula.parts`; the value of any leading shape is computed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from funneltune.metrics.ties import Floats


@dataclass(frozen=True)
class Formula:
    """What is summed over rows, and what becomes of the sums."""

    parts: tuple[str, ...]
    of: Callable[[Floats], Floats]
    """(..., parts) -> (...); NaN where it is undefined."""


def _matthews(total: Floats) -> Floats:
    hits, alarms, misses, rest = np.moveaxis(total, -1, 0)
    product = (hits + alarms) * (hits + misses) * (rest + alarms) * (rest + misses)
    return np.where(product > 0, (hits * rest - alarms * misses) / np.sqrt(np.where(product > 0, product, 1.0)), 0.0)


def _f1(total: Floats) -> Floats:
    hits, named, support = np.moveaxis(total, -1, 0)
    return np.asarray(2 * hits / (named + support), dtype=np.float64)


def _correlation(total: Floats) -> Floats:
    n, x, y, xx, yy, xy = np.moveaxis(total, -1, 0)
    spread = (n * xx - x * x) * (n * yy - y * y)
    return np.asarray((n * xy - x * y) / np.sqrt(np.where(spread > 0, spread, np.nan)), dtype=np.float64)


def _ratio(total: Floats) -> Floats:
    return np.asarray(total[..., 0] / total[..., 1], dtype=np.float64)


MOMENTS = ("n", "x", "y", "xx", "yy", "xy")
FORMULAS: dict[str, Formula] = {
    "mcc": Formula(("true_positive", "false_positive", "false_negative", "true_negative"), _matthews),
    "f1": Formula(("hits", "named", "support"), _f1),
    "pearson": Formula(MOMENTS, _correlation),
    "spearman": Formula(MOMENTS, _correlation),
    "predicted_over_observed": Formula(("predicted", "expected"), _ratio),
    "predicted_over_true": Formula(("predicted", "expected"), _ratio),
}
"""By the metric's name."""


def formula_of(metric: str) -> Formula | None:
    """The formula of a metric key (`ctr/f1`); None where it is a mean, an AUC, or no function of sums."""
    return FORMULAS.get(metric.partition("/")[2])


def formula_parts(metric: str) -> tuple[str, ...]:
    """The parts of a metric's formula; none where it has none."""
    formula = formula_of(metric)
    return () if formula is None else formula.parts


def value_of(name: str, rows: dict[str, Floats]) -> float:
    """A metric of all rows, from its parts row by row; NaN where it is undefined."""
    formula = FORMULAS[name]
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(formula.of(np.array([rows[part].sum() for part in formula.parts])))


def decisions(label: Floats, p: Floats, threshold: float) -> dict[str, Floats]:
    """Row by row what `mcc` and `f1` sum; a row is said to be positive at p >= threshold."""
    said = (p >= threshold).astype(np.float64)
    return {
        "true_positive": said * label,
        "false_positive": said * (1 - label),
        "false_negative": (1 - said) * label,
        "true_negative": (1 - said) * (1 - label),
        "hits": said * label,
        "named": said,
        "support": label,
    }


def moments(value: Floats, mean: Floats, ranked: bool = False) -> dict[str, Floats]:
    """Row by row what a correlation sums; of ranks (ties at their average) where `ranked`. Both sides are standardised,
    which leaves the correlation as it is and keeps the sums' digits.
    """
    x, y = (_standard(rankdata(side) if ranked else side) for side in (value, mean))
    return {"n": np.ones(len(x)), "x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}


def _standard(side: Floats) -> Floats:
    if not len(side):
        return np.asarray(side, dtype=np.float64)
    spread = float(side.std())
    return np.asarray((side - side.mean()) / (spread if spread > 0 else 1.0), dtype=np.float64)
