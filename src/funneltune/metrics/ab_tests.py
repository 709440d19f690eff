"""Experiments between two rankings: how many shoppers they need, when one may look, and team-draft interleaving."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from funneltune.errors import ConfigError
from funneltune.metrics.intervals import Interval, t_interval
from funneltune.metrics.ties import Floats

Integers = NDArray[np.int64]


def welch(a: Floats, b: Floats, level: float = 0.95) -> Interval:
    """The difference of two arms' means, b minus a (Welch 1947). NaN limits where an arm has fewer than two units."""
    n, m = len(a), len(b)
    if min(n, m) < 2:
        return t_interval(float("nan"), float("nan"), 0, level, 1, n + m, "Welch")
    u, v = float(np.var(a, ddof=1)) / n, float(np.var(b, ddof=1)) / m
    df = (u + v) ** 2 / (u**2 / (n - 1) + v**2 / (m - 1)) if u + v > 0 else float(n + m - 2)
    return t_interval(float(b.mean() - a.mean()), u + v, df, level, 1, n + m, "Welch")


def sample_size(
    deviation_a: float, deviation_b: float, effect: float, power: float = 0.8, level: float = 0.95
) -> float:
    """Units per arm with which a two-sided test finds a difference of means of `effect` with that power.

    n = (z_{1 - alpha / 2} + z_power)^2 (s_a^2 + s_b^2) / effect^2; infinite where the effect is 0.

    >>> round(sample_size(1.0, 1.0, 0.5))  # the textbook's 63 for half a standard deviation
    63

    Raises:
        ConfigError: if power or level are no chances.
    """
    z = _quantiles(power, level)
    return math.inf if effect == 0 else z**2 * (deviation_a**2 + deviation_b**2) / effect**2


def detectable_effect(
    deviation_a: float, deviation_b: float, n: float, power: float = 0.8, level: float = 0.95
) -> float:
    """The smallest difference of means that a test with `n` units per arm finds with that power.

    Raises:
        ConfigError: if power or level are no chances, or n is no number of units.
    """
    if not n > 0:
        raise ConfigError(f"n={n:g} must be > 0, the units of an arm.")
    return _quantiles(power, level) * math.sqrt((deviation_a**2 + deviation_b**2) / n)


def power_at(deviation_a: float, deviation_b: float, effect: float, n: float, level: float = 0.95) -> float:
    """The chance that a two-sided test with `n` units per arm finds `effect`, the inverse of `sample_size`.

    >>> round(power_at(1.0, 1.0, 0.5, sample_size(1.0, 1.0, 0.5)), 3)
    0.8
    """
    spread = math.sqrt((deviation_a**2 + deviation_b**2) / n)
    z = float(special.ndtri(1 - (1 - level) / 2))
    away = abs(effect) / spread if spread > 0 else 0.0
    return float(special.ndtr(away - z) + special.ndtr(-away - z))


def sign_size(variance: float, effect: float, chance: float = 0.8) -> float:
    """Units with which an estimate has the sign of `effect` with that chance, where one unit's has this variance.

    Phi(effect sqrt(n / variance)) = chance; infinite where the effect is 0.

    Raises:
        ConfigError: if the chance is not above one half, which a coin has.
    """
    if not 0.5 < chance < 1:
        raise ConfigError(f"chance={chance:g} must lie between 0.5 and 1.")
    return math.inf if effect == 0 else float(special.ndtri(chance)) ** 2 * variance / effect**2


def _quantiles(power: float, level: float) -> float:
    for name, value in (("power", power), ("level", level)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}={value:g} must lie between 0 and 1.")
    return float(special.ndtri(1 - (1 - level) / 2) + special.ndtri(power))


# --- looking before the end ----------------------------------------------------------------------------------------


class AlwaysValid(NamedTuple):
    """What a mixture sequential probability ratio test says at one look."""

    p_value: float
    low: float
    high: float


def always_valid(difference: float, variance: float, mixing: float, level: float = 0.95) -> AlwaysValid:
    """A p-value and interval that hold however often one looks, and whenever one stops (mSPRT: Robbins 1970; Johari et
    al. 2022, eq. 8), for a difference that is about normal.

    With V the variance of the difference and effects mixed over N(0, tau^2), the likelihood ratio against no effect is

        L = sqrt(V / (V + tau^2)) exp(tau^2 d^2 / (2 V (V + tau^2)))

    p = min(1, 1 / L); the interval holds the effects whose ratio stays below 1 / alpha. Take the least p and the
    intersection of the intervals over the looks.

    Args:
        difference: Estimated by now.
        variance: Of that estimate.
        mixing: tau^2, set before the first look (`mixing_variance`).
        level: Of the interval.
    """
    if not (variance > 0 and math.isfinite(difference)):
        return AlwaysValid(1.0, -math.inf, math.inf)
    both = variance + mixing
    log_ratio = 0.5 * math.log(variance / both) + mixing * difference**2 / (2 * variance * both)
    reach = math.sqrt(variance * both / mixing * (math.log(both / variance) - 2 * math.log(1 - level)))
    return AlwaysValid(min(1.0, math.exp(-log_ratio)), difference - reach, difference + reach)


def mixing_variance(final_variance: float, level: float = 0.95) -> float:
    """tau^2 with which the interval is about the shortest when the variance has come down to `final_variance` (Howard
    et al. 2021, sec. 3.5): V (2 log(1 / alpha) + log(1 + 2 log(1 / alpha))).
    """
    twice = -2 * math.log(1 - level)
    return final_variance * (twice + math.log(1 + twice))


# --- interleaving --------------------------------------------------------------------------------------------------


def team_draft(a: Integers, b: Integers, coins: NDArray[np.bool_]) -> tuple[Integers, NDArray[np.bool_]]:
    """One page from two rankings (Radlinski, Kurup and Joachims 2008, algorithm 2).

    In each round a coin says whose turn is first; each ranking then adds its best item that is not on the page yet.

    Args:
        a: (n, k) the first ranking's pages, none of whose items comes twice.
        b: Likewise.
        coins: (n, k) of the rounds: heads lets `b` pick first.

    Returns:
        (n, k) the page, and whether `b` picked the item.
    """
    n, k = a.shape
    page, team = np.empty((n, k), dtype=np.int64), np.empty((n, k), dtype=bool)
    row, next_pick = np.arange(n), {False: np.zeros(n, np.int64), True: np.zeros(n, np.int64)}
    for place in range(k):
        turn = coins[:, place // 2] ^ bool(place % 2)
        for side, ranking in ((False, a), (True, b)):
            mine, at = np.flatnonzero(turn == side), next_pick[side]
            while len(mine):
                pick = ranking[row[mine], at[mine]]
                at[mine] += 1
                fresh = ~(page[mine, :place] == pick[:, None]).any(axis=1)
                page[mine[fresh], place] = pick[fresh]
                mine = mine[~fresh]
        team[:, place] = turn
    return page, team


def credit(reward: Floats, team: NDArray[np.bool_]) -> Floats:
    """(n,) what `b`'s items of a page earned, minus what `a`'s earned: its mean is above 0 where `b` is preferred."""
    return np.asarray(np.where(team, reward, -np.asarray(reward, dtype=np.float64)).sum(axis=1))
