"""Experiments played many times: how often each way of deciding finds a difference, or one that is not there.

A pool holds what single shoppers brought, over many draws of what they might have done: an arm of n shoppers is n draws
from it. Legend: T trials, n shoppers of an arm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from funneltune.decisions.abtest.arms import Bench, Floats, Pages
from funneltune.errors import ConfigError
from funneltune.metrics.ab_tests import always_valid, mixing_variance, welch
from funneltune.metrics.intervals import Interval

DRAWS = 100
"""Of what each shopper might have done."""
LEVEL = 0.95


@dataclass(frozen=True)
class Pools:
    """(shoppers x draws,) one metric, per shopper."""

    drawn: Floats
    mean: float
    """In truth: the mean over shoppers of what they are expected to bring."""

    @cached_property
    def values(self) -> Floats:
        """What was drawn, moved to the true mean where it is not 0: of many draws the pool's own luck would count as a
        difference, and who brought nothing still does.
        """
        there = self.drawn != 0
        away = self.mean - float(self.drawn.mean())
        return np.asarray(self.drawn + there * (away * len(there) / max(int(there.sum()), 1)), dtype=np.float64)

    @classmethod
    def of(cls, bench: Bench, pages: Pages, rng: np.random.Generator) -> dict[str, Pools]:
        """Of every metric of an arm's pages."""
        drawn: dict[str, list[Floats]] = {name: [] for name in pages.expected}
        for _ in range(DRAWS):
            for name, values in pages.draw(rng).items():
                drawn[name].append(bench.by_user(values))
        return {
            name: cls(np.concatenate(parts), float(bench.by_user(pages.expected[name]).mean()))
            for name, parts in drawn.items()
        }

    @property
    def deviation(self) -> float:
        """Between shoppers, luck included."""
        return float(self.drawn.std())


class Trials(NamedTuple):
    """Share of the trials in which each way of deciding says that the arms differ."""

    fixed: float
    """One test at the end."""
    peeking: float
    """A test at every look, stopped at the first p below 5%."""
    sequential: float
    """The always-valid p at every look, stopped likewise."""
    used: float
    """Mean share of the shoppers that the last had seen when it stopped."""


def tried(
    a: Floats, b: Floats, n: int, looks: int, trials: int, rng: np.random.Generator, level: float = LEVEL
) -> Trials:
    """Experiments with `n` shoppers per arm who come one after the other; looks at equal distances, the last at n.

    Args:
        a: Pool of the first arm.
        b: Likewise.
        n: Shoppers of an arm.
        looks: How often one looks.
        trials: How many experiments.
        rng: Of the draws.
        level: 1 - the error that each way allows itself.

    Raises:
        ConfigError: if there are more looks than an arm has pairs of shoppers.
    """
    if not 1 <= looks <= n / 2:
        raise ConfigError(f"looks={looks} must lie in 1 .. {n // 2}, half the shoppers of an arm; add requests.")
    mixing = mixing_variance(2 * float(a.var()) / n, level)
    at = np.linspace(0, n, looks + 1).round().astype(int)
    sums = np.zeros((2, 2, trials))  # arm; total, total of squares
    found, peeked, running = (np.zeros(trials, dtype=bool) for _ in range(3))
    used = np.ones(trials)
    for before, now in pairwise(at):
        for arm, pool in enumerate((a, b)):
            values = pool[rng.integers(len(pool), size=(trials, now - before))]
            sums[arm] += values.sum(axis=1), (values**2).sum(axis=1)
        difference, variance, df = _welch(sums, int(now))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.abs(difference) > special.stdtrit(df, 1 - (1 - level) / 2) * np.sqrt(variance)
            reach = np.sqrt(
                variance * (variance + mixing) / mixing * (np.log1p(mixing / variance) - 2 * np.log(1 - level))
            )
        found &= variance > 0
        peeked |= found
        stops = ~running & (variance > 0) & (np.abs(difference) >= reach)
        used[stops] = now / n
        running |= stops
    return Trials(float(found.mean()), float(peeked.mean()), float(running.mean()), float(used.mean()))


def _welch(sums: Floats, n: int) -> tuple[Floats, Floats, Floats]:
    """(T,): the difference of means, its variance, Welch's degrees of freedom."""
    mean = sums[:, 0] / n
    each = np.maximum(sums[:, 1] / n - mean**2, 0.0) / (n - 1)
    variance = each.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(variance > 0, variance**2 / ((each**2).sum(axis=0) / (n - 1)), 1.0)
    return mean[1] - mean[0], variance, df


def share_right(a: Floats, b: Floats | None, n: int, sign: float, trials: int, rng: np.random.Generator) -> float:
    """Share of experiments whose estimate has the sign of the truth, none counting a half.

    `b`: None, where the pool holds each shopper's difference already (interleaving).
    """
    difference = np.zeros(trials)
    for pool, weight in ((a, 1.0 if b is None else -1.0), (b, 1.0)):
        if pool is not None:
            difference += weight * pool[rng.integers(len(pool), size=(trials, n))].sum(axis=1)
    return float(((difference * sign > 0) + 0.5 * (difference == 0)).mean())


@dataclass(frozen=True)
class Looks:
    """An experiment as one watches it; one entry per look."""

    shoppers: list[int]
    difference: list[float]
    fixed_p: list[float]
    """Of a test that took this look for the only one."""
    fixed_reach: list[float]
    """Half its 95% interval."""
    valid_p: list[float]
    """Always valid: the least so far."""
    valid_reach: list[float]

    @property
    def stopped(self) -> int | None:
        """Shoppers seen when the always-valid p had come down to 5%; None: it never did."""
        return next((n for n, p in zip(self.shoppers, self.valid_p, strict=True) if p <= 1 - LEVEL), None)


@dataclass(frozen=True)
class Happened:
    """One experiment: every shopper in one arm by a coin."""

    shoppers: tuple[int, int]
    means: dict[str, tuple[float, float]]
    """Metric -> per shopper, in each arm."""
    differences: dict[str, Interval]
    looks: Looks


def experiment(bench: Bench, a: Pages, b: Pages, metric: str, looks: int, rng: np.random.Generator) -> Happened:
    """Play it once, on all requests; a shopper counts from the first request on, in the order of these.

    `conversion` is the share of shoppers who bought anything.

    Raises:
        ConfigError: if there are too few shoppers for the looks.
    """
    in_b = rng.random(len(bench.users)) < 0.5
    if min(in_b.sum(), (~in_b).sum()) < 2 * looks:
        raise ConfigError(f"looks={looks} is too many for {len(in_b)} shoppers in two arms; add requests.")
    drawn = [{name: bench.by_user(values) for name, values in pages.draw(rng).items()} for pages in (a, b)]
    for of in drawn:
        of["conversion"] = (of["purchases"] > 0).astype(np.float64)
    split = {name: (drawn[0][name][~in_b], drawn[1][name][in_b]) for name in drawn[0]}
    _, first = np.unique(bench.user, return_index=True)
    order = np.argsort(first, kind="stable")
    return Happened(
        shoppers=(int((~in_b).sum()), int(in_b.sum())),
        means={name: (float(one.mean()), float(other.mean())) for name, (one, other) in split.items()},
        differences={name: welch(one, other) for name, (one, other) in split.items()},
        looks=_watched(drawn[0][metric][order], drawn[1][metric][order], in_b[order], looks),
    )


def _watched(a: Floats, b: Floats, in_b: NDArray[np.bool_], looks: int) -> Looks:
    """The same experiment at every look; the mixing variance is set by the first arm's deviation, as in a plan."""
    found = Looks([], [], [], [], [], [])
    mixing = mixing_variance(4 * float(a.var()) / len(a), LEVEL)
    least = 1.0
    for now in np.linspace(0, len(a), looks + 1).round().astype(int)[1:]:
        fixed = welch(a[:now][~in_b[:now]], b[:now][in_b[:now]])
        valid = always_valid(fixed.estimate, fixed.standard_error**2, mixing, LEVEL)
        least = min(least, valid.p_value)
        found.shoppers.append(int(now))
        found.difference.append(fixed.estimate)
        found.fixed_p.append(fixed.p_value)
        found.fixed_reach.append((fixed.high - fixed.low) / 2)
        found.valid_p.append(least)
        found.valid_reach.append((valid.high - valid.low) / 2)
    return found
