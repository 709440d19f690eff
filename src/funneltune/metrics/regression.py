"""Labels that are numbers: how far predicted means are from them, and whether they order rows alike."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from funneltune.metrics.ties import Floats, checked_scores, same_length


def rmse(value: Floats, mean: Floats) -> float:
    """Root of the mean squared error, in the label's unit."""
    value, mean = _checked(value, mean)
    return float(np.sqrt(((value - mean) ** 2).mean())) if len(value) else float("nan")


def mse(value: Floats, mean: Floats) -> float:
    """Mean squared error, in the square of the label's unit."""
    value, mean = _checked(value, mean)
    return float(((value - mean) ** 2).mean()) if len(value) else float("nan")


def mae(value: Floats, mean: Floats) -> float:
    """Mean absolute error, in the label's unit."""
    value, mean = _checked(value, mean)
    return float(np.abs(value - mean).mean()) if len(value) else float("nan")


def r2(value: Floats, mean: Floats) -> float:
    """Share of the label's variance that is explained; 0 is worth as much as their average, NaN without variance."""
    value, mean = _checked(value, mean)
    if not len(value) or np.ptp(value) == 0:
        return float("nan")
    spread = float(((value - value.mean()) ** 2).sum())
    return 1.0 - float(((value - mean) ** 2).sum()) / spread if spread else float("nan")


def pearson(value: Floats, mean: Floats) -> float:
    """Correlation; NaN where either side is constant."""
    value, mean = _checked(value, mean)
    if len(value) < 2 or np.ptp(value) == 0 or np.ptp(mean) == 0:
        return float("nan")
    return float(np.corrcoef(value, mean)[0, 1])


def spearman(value: Floats, mean: Floats) -> float:
    """Correlation of ranks, ties at their average rank; NaN where either side is constant."""
    value, mean = _checked(value, mean)
    if len(value) < 2 or np.ptp(value) == 0 or np.ptp(mean) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(value), rankdata(mean))[0, 1])


def _checked(value: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Finite numbers of the same rows. Raises DataError otherwise: NumPy would stretch one over the other."""
    value, mean = checked_scores(value, "value"), checked_scores(mean, "mean")
    same_length(value=value, mean=mean)
    return value, mean
