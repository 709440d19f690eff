"""Labels that are numbers: how far predicted means are from them, and whether they order rows alike."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from funneltune.metrics.ties import Floats


def rmse(value: Floats, mean: Floats) -> float:
    """Root of the mean squared error, in the label's unit."""
    return float(np.sqrt(((value - mean) ** 2).mean())) if len(value) else float("nan")


def mae(value: Floats, mean: Floats) -> float:
    """Mean absolute error, in the label's unit."""
    return float(np.abs(value - mean).mean()) if len(value) else float("nan")


def r2(value: Floats, mean: Floats) -> float:
    """Share of the label's variance that is explained; 0 is worth as much as their average, NaN without variance."""
    spread = float(((value - value.mean()) ** 2).sum()) if len(value) else 0.0
    return 1.0 - float(((value - mean) ** 2).sum()) / spread if spread else float("nan")


def spearman(value: Floats, mean: Floats) -> float:
    """Correlation of ranks, ties at their average rank; NaN where either side is constant."""
    if len(value) < 2 or np.ptp(value) == 0 or np.ptp(mean) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(value), rankdata(mean))[0, 1])
