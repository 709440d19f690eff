"""What a policy would have earned, from a log that another policy left: importance-weighted estimators.

Legend: n rows, one decision each; w = p(decision | target policy) / p(decision | logging policy), r its reward, q(x, a)
a reward model that was not fitted on these rows, and q_pi = sum over a of p(a | target) q(x, a). With mean() over rows:

    DM         mean(q_pi)                                         no weights: as wrong as the model
    IPS        mean(w r)                                          Horvitz and Thompson (1952)
    SNIPS      sum(w r) / sum(w)                                  Swaminathan and Joachims (2015), eq. 8
    DR         mean(q_pi + w (r - q))                             Dudik et al. (2011), eq. 4
    SNDR       mean(q_pi) + sum(w (r - q)) / sum(w)               Thomas and Brunskill (2016)
    switch-DR  DR with w where w <= t, else 0                     Wang et al. (2017), eq. 10
    shrunk DR  DR with w' = t w / (w^2 + t)                       Su et al. (2020), eq. 12

The last two take the t of a grid whose estimated squared bias, mean((w' - w) (r - q))^2, plus variance is least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from funneltune.errors import ConfigError, DataError
from funneltune.metrics.clusters import ClusterTotals
from funneltune.metrics.formulas import Formula
from funneltune.metrics.intervals import t_interval
from funneltune.metrics.resampling import resample
from funneltune.metrics.ties import Floats, dense_groups, same_length

MODEL_FREE = ("ips", "snips")
OF_MODEL = ("dm", "dr", "sndr", "switch_dr", "shrunk_dr")
ESTIMATORS = ("ips", "snips", *OF_MODEL)
LEAST_ESS = 30.0
"""Effective rows below which no number is given."""
WEAK_ESS, WEAK_REWARDS, HEAVY = 200.0, 10, 0.05
"""Effective rows, rewarded rows and a single weight's share of all that call an estimate weak."""
MISFIT = 5.0
"""Standard errors between the weights' mean and 1 from which on the propensities contradict the log."""
GRID = 24
"""Thresholds that are tried for switching and shrinking."""


@dataclass(frozen=True)
class Logged:
    """Rows of a log as the estimators read them, (n,) each.

    Attributes:
        reward: What the decision earned.
        weight: Its chance under the target policy over that under the logging policy.
        cluster: Rows of one shopper (or request) vary together; whole clusters are resampled.
        predicted: The reward model of the decision that was made; None: no model.
        expected: The model's mean over the target policy's decisions.
    """

    reward: Floats
    weight: Floats
    cluster: NDArray[np.int64]
    predicted: Floats | None = None
    expected: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse what is no such log."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        same_length(**given)
        if len(self.reward) == 0:
            raise DataError("off-policy: the log has no row; choose another split.")
        for name, value in given.items():
            if not np.isfinite(value).all():
                raise DataError(f"off-policy: {name} holds a value that is not finite; propensities must be > 0.")
        if (self.weight < 0).any():
            raise DataError(f"off-policy: weight={self.weight.min():g} must be >= 0: chances are.")
        if (self.predicted is None) != (self.expected is None):
            raise DataError("off-policy: a reward model brings both `predicted` and `expected`; give both or neither.")

    def clipped(self, most: float) -> Logged:
        """The same with no weight above `most`: less variance, and a bias towards less."""
        if not most > 0:
            raise ConfigError(f"clip={most:g} must be > 0, the largest weight that a row may have.")
        return replace(self, weight=np.minimum(self.weight, most))


class Overlap(NamedTuple):
    """How well a log supports a target policy."""

    rows: int
    effective: float
    """(sum w)^2 / sum w^2 (Kish 1965): as many equally weighted rows say as much."""
    mean: float
    """Of the weights; 1 in expectation where the log could make every decision of the target."""
    misfit: float
    """Standard errors between that mean and 1."""
    largest: float
    heaviest: float
    """The largest weight's share of all."""
    unused: float
    """Share of the rows that the target policy would never have made."""
    rewarded: int
    """Rows with a reward and a weight."""

    @property
    def weak(self) -> str:
        """Why an estimate is not to be relied on; empty where nothing speaks against it."""
        reasons = [
            (self.effective < WEAK_ESS, f"the log counts as {self.effective:.0f} rows"),
            (self.rewarded < WEAK_REWARDS, f"{self.rewarded} rows with a reward"),
            (self.heaviest > HEAVY, f"one row has {self.heaviest:.0%} of all weight"),
            (
                self.misfit > MISFIT,
                f"weights average {self.mean:.3f} instead of 1, {self.misfit:.0f} standard errors off",
            ),
        ]
        return "; ".join(told for holds, told in reasons if holds)


class Estimate(NamedTuple):
    """A policy's value per row, with two 95% intervals: clusters jackknifed, and resampled (BCa, Efron 1987)."""

    estimator: str
    value: float
    error: float
    low: float
    high: float
    bootstrap_low: float
    bootstrap_high: float
    threshold: float
    """t of switching or shrinking; NaN where there is none."""

    def covers(self, truth: float, bootstrap: bool = False) -> bool:
        """Whether the interval holds the truth."""
        low, high = (self.bootstrap_low, self.bootstrap_high) if bootstrap else (self.low, self.high)
        return bool(low <= truth <= high)


def overlap(logged: Logged, random: bool = True) -> Overlap:
    """How many rows the weights leave. `random=False`: the weights are no ratios of chances, whose mean is 1."""
    w = logged.weight
    total, squares = float(w.sum()), float((w**2).sum())
    sums = np.bincount(dense_groups(logged.cluster)[0], weights=w - 1.0)
    error = float(np.sqrt((sums**2).sum())) / len(w)
    misfit = abs(float(w.mean()) - 1.0) / error if error > 0 and random else 0.0
    return Overlap(
        rows=len(w),
        effective=total**2 / squares if squares > 0 else 0.0,
        mean=float(w.mean()),
        misfit=misfit,
        largest=float(w.max()),
        heaviest=float(w.max()) / total if total > 0 else 1.0,
        unused=float((w == 0).mean()),
        rewarded=int(((logged.reward != 0) & (w > 0)).sum()),
    )


def require_overlap(found: Overlap, what: str) -> None:
    """Raises DataError where the log says next to nothing of the target policy."""
    if found.effective < LEAST_ESS:
        raise DataError(
            f"{what}: the log of {found.rows:,} rows counts as {found.effective:.1f} for this policy (largest weight "
            f"{found.largest:,.0f}, {found.unused:.0%} of the rows it would never make), and an estimate needs "
            f"{LEAST_ESS:.0f}; choose one nearer to the logging policy (tilted, a higher temperature), or a longer log."
        )


def estimate(name: str, logged: Logged, level: float = 0.95, draws: int = 2_000, seed: int = 0) -> Estimate:
    """The value per row by one of `ESTIMATORS`; `draws=0` leaves the bootstrap out.

    Raises:
        ConfigError: if the name is unknown, or the estimator needs a reward model and there is none.
    """
    if name not in ESTIMATORS:
        raise ConfigError(f"estimators: {name!r} is none of {', '.join(ESTIMATORS)}.")
    if name in OF_MODEL and logged.predicted is None:
        raise ConfigError(f"estimators: {name} needs a reward model, and there is none here; choose ips or snips.")
    weight, threshold = _tuned(name, logged)
    totals = _totals(name, replace(logged, weight=weight))
    value, n = totals.value, len(totals.totals)
    left_out = np.asarray(totals.formula.of(totals.totals.sum(axis=0) - totals.totals), dtype=np.float64)
    centred = left_out - left_out.mean()
    variance = float((n - 1) / n * (centred**2).sum()) if n > 1 else float("nan")
    interval = t_interval(value, variance, n - 1, level, 1, n, "clustered jackknife")
    low, high = float("nan"), float("nan")
    if draws and n > 1:
        (found,) = resample([totals], draws, seed)
        low, high = bca(value, found[np.isfinite(found)], left_out, level)
    return Estimate(name, value, interval.standard_error, interval.low, interval.high, low, high, threshold)


def bca(value: float, draws: Floats, left_out: Floats, level: float = 0.95) -> tuple[float, float]:
    """The bias-corrected, accelerated bootstrap interval (Efron 1987, eqs. 2.3 and 6.6).

    Args:
        value: The statistic on all clusters.
        draws: On resampled ones.
        left_out: On all clusters but one, for each.
        level: Of the interval.
    """
    if len(draws) < 2 or not np.ptp(draws) > 0:
        return float("nan"), float("nan")
    below = np.clip(((draws < value).sum() + 0.5 * (draws == value).sum()) / len(draws), 1e-6, 1 - 1e-6)
    z0 = special.ndtri(below)
    centred = left_out.mean() - left_out
    spread = float((centred**2).sum()) ** 1.5
    acceleration = float((centred**3).sum()) / (6 * spread) if spread > 0 else 0.0
    z = special.ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    shares = special.ndtr(z0 + (z0 + z) / (1 - acceleration * (z0 + z)))
    low, high = np.quantile(draws, np.clip(shares, 0.0, 1.0))
    return float(low), float(high)


# --- what is summed ------------------------------------------------------------------------------------------------


def _mean(total: Floats) -> Floats:
    return np.asarray(total[..., 1] / total[..., 0], dtype=np.float64)


def _self_normalised(total: Floats) -> Floats:
    rows, expected, weighted, weight = np.moveaxis(total, -1, 0)
    return np.asarray(expected / rows + weighted / weight, dtype=np.float64)


MEAN = Formula(("rows", "value"), _mean)
SELF_NORMALISED = Formula(("rows", "expected", "weighted", "weight"), _self_normalised)


def _totals(name: str, logged: Logged) -> ClusterTotals:
    """Sums per cluster of what an estimator is made of."""
    r, w = logged.reward, logged.weight
    q = np.zeros(len(r)) if logged.predicted is None or name == "snips" else logged.predicted
    expected = np.zeros(len(r)) if logged.expected is None or name == "snips" else logged.expected
    one = np.ones(len(r))
    parts: dict[str, Callable[[], Sequence[Floats]]] = {
        "dm": lambda: (one, expected),
        "ips": lambda: (one, w * r),
        "snips": lambda: (one, expected, w * (r - q), w),
        "sndr": lambda: (one, expected, w * (r - q), w),
    }
    columns = parts.get(name, lambda: (one, expected + w * (r - q)))()
    cluster, _ = dense_groups(logged.cluster)
    totals = np.stack([np.bincount(cluster, weights=column) for column in columns], axis=1).astype(np.float64)
    return ClusterTotals(SELF_NORMALISED if len(columns) == 4 else MEAN, totals)


def _tuned(name: str, logged: Logged) -> tuple[Floats, float]:
    """The weights that an estimator uses, and their threshold."""
    w = logged.weight
    if name not in ("switch_dr", "shrunk_dr"):
        return w, float("nan")
    assert logged.predicted is not None
    assert logged.expected is not None
    if not (w > 0).any():
        return w, float("inf")
    residual, best = logged.reward - logged.predicted, (float("inf"), w, float("inf"))
    quantiles = np.unique(np.quantile(w[w > 0], np.linspace(0.3, 1.0, GRID)))
    grid = quantiles if name == "switch_dr" else np.append(quantiles**2 * 4, np.inf)
    for t in grid[::-1]:
        kept = (w <= t) if name == "switch_dr" else 1.0 / (1.0 + w**2 / t)
        changed = w * kept
        bias = float(((changed - w) * residual).mean())
        error = bias**2 + float((logged.expected + changed * residual).var()) / len(w)
        if error < best[0]:
            best = (error, changed, float(t))
    return best[1], best[2]
