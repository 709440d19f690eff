"""Did a ranking of people find those whom a treatment moves? Randomised arms, one outcome, one score per person.

Legend: n people; `treated` is 1 in the treated arm and 0 in the control arm; `weight` is how often a bootstrap drew a
person (1 each where none is given). People of one score are taken together: their order says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from funneltune.errors import DataError
from funneltune.metrics.ties import Floats


@dataclass(frozen=True)
class Curve:
    """What is gained when the first `share` of all people, the highest scores first, are treated."""

    share: Floats
    gained: Floats
    """Further outcomes per person of the whole group."""

    @property
    def area(self) -> float:
        """Under the curve, by trapezes."""
        return float(np.trapezoid(self.gained, self.share))

    @property
    def above_random(self) -> float:
        """The area between the curve and the straight line to its end, which treating at random gives."""
        return self.area - float(self.gained[-1]) / 2


class RankedTrial:
    """A trial's people in the order of a score, ready to be counted under many weights.

    Args:
        outcome: (n,) of each person.
        treated: (n,) 0 or 1.
        score: (n,) the highest are treated first.

    Raises:
        DataError: if an arm is empty, `treated` is something else than 0 and 1, or a score is not finite.
    """

    def __init__(self, outcome: ArrayLike, treated: ArrayLike, score: ArrayLike) -> None:
        y, t, s = (np.asarray(values, dtype=np.float64) for values in (outcome, treated, score))
        if not len(y) == len(t) == len(s):
            raise DataError(f"uplift: {len(y)} outcomes, {len(t)} arms and {len(s)} scores; each person has one each.")
        if not np.isin(t, (0, 1)).all() or not 0 < t.sum() < len(t):
            raise DataError("uplift: treated must be 0 or 1, with people in both arms.")
        if not np.isfinite(s).all():
            raise DataError("uplift: a score is not finite.")
        self.order = np.argsort(-s, kind="stable")
        ranked = s[self.order]
        self.ends = np.r_[np.flatnonzero(np.diff(ranked)), len(s) - 1]
        t, y = t[self.order], y[self.order]
        self.parts = np.stack([t, 1 - t, t * y, (1 - t) * y])

    def totals(self, weight: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(4, blocks + 1): treated, control, their outcomes, summed from the first person to the end of each block."""
        parts = self.parts if weight is None else self.parts * weight[self.order]
        return np.concatenate([np.zeros((4, 1)), parts.cumsum(axis=1)[:, self.ends]], axis=1)


def qini_curve(totals: NDArray[np.float64]) -> Curve:
    """Further outcomes per treated person of the whole group (Radcliffe 2007): with the first people's T treated, C
    controls and their outcomes Y_T, Y_C,

        g = (Y_T - Y_C T / C) / T_all

    >>> trial = RankedTrial([1, 0, 0, 0], [1, 0, 1, 0], [2, 2, 1, 1])
    >>> qini_curve(trial.totals()).gained.tolist()
    [0.0, 0.5, 0.5]
    """
    t, c, yt, yc = totals
    gained = (yt - np.divide(yc * t, c, out=np.zeros_like(c), where=c > 0)) / max(float(t[-1]), 1e-12)
    return Curve((t + c) / (t[-1] + c[-1]), gained)


def uplift_curve(totals: NDArray[np.float64]) -> Curve:
    """The difference of the arms' means among the first people, times their share (Gutierrez and Gérardy 2017). Zero
    while one of the arms has nobody.
    """
    share = (totals[0] + totals[1]) / (totals[0, -1] + totals[1, -1])
    return Curve(share, share * _difference(totals))


def _difference(totals: NDArray[np.float64]) -> Floats:
    """The arms' difference in means at the end of each block; 0 while one has nobody."""
    t, c, yt, yc = totals
    both = (t > 0) & (c > 0)
    return np.asarray(
        np.divide(yt, t, out=np.zeros_like(t), where=both) - np.divide(yc, c, out=np.zeros_like(c), where=both)
    )


def qini(outcome: ArrayLike, treated: ArrayLike, score: ArrayLike) -> float:
    """The Qini coefficient: the area between the Qini curve and that of treating at random, per person. 0: the score is
    as good as chance; below: it finds those whom the treatment puts off.

    >>> qini([1, 0, 0, 0], [1, 0, 1, 0], [2, 2, 1, 1])
    0.125
    """
    return qini_curve(RankedTrial(outcome, treated, score).totals()).above_random


def auuc(outcome: ArrayLike, treated: ArrayLike, score: ArrayLike) -> float:
    """The area under the uplift curve; half the average effect where the score is as good as chance."""
    return uplift_curve(RankedTrial(outcome, treated, score).totals()).area


def uplift_at(totals: NDArray[np.float64], share: float) -> float:
    """The difference of the arms' means among the first `share` of people; of a block that the cut goes through, its
    part. NaN where one of the arms has nobody there.
    """
    people = (totals[0] + totals[1]) / (totals[0, -1] + totals[1, -1])
    t, c, yt, yc = (float(np.interp(share, people, one)) for one in totals)
    return yt / t - yc / c if t > 0 and c > 0 else float("nan")


@dataclass(frozen=True)
class Group:
    """People of about one predicted uplift."""

    people: int
    predicted: float
    observed: float
    low: float
    high: float


def calibration(outcome: ArrayLike, treated: ArrayLike, predicted: ArrayLike, groups: int = 10) -> list[Group]:
    """Predicted uplift against the difference of the arms' means, in groups of equal size; a 95% interval of Welch's
    standard error. Observed is NaN where an arm has fewer than two people.
    """
    y, t, s = (np.asarray(values, dtype=np.float64) for values in (outcome, treated, predicted))
    found = []
    for rows in np.array_split(np.argsort(s, kind="stable"), groups):
        one, other = y[rows][t[rows] == 1], y[rows][t[rows] == 0]
        difference = error = float("nan")
        if min(len(one), len(other)) > 1:
            difference = float(one.mean() - other.mean())
            error = float(np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other)))
        reach = 1.959964 * error
        mean = float(s[rows].mean()) if len(rows) else float("nan")
        found.append(Group(len(rows), mean, difference, difference - reach, difference + reach))
    return found


def policy_values(
    outcome: ArrayLike, treated: ArrayLike, treat: ArrayLike, p_treated: float, margin: float, cost: float
) -> Floats:
    """(n,): terms whose mean is what a person brings when `treat` says who is treated, by inverse propensities.

        1[T = treat] / p(T) x (margin Y - cost T)     (Horvitz and Thompson 1952)

    >>> policy_values([1, 0], [1, 0], [1, 1], 0.5, 10.0, 1.0).tolist()
    [18.0, 0.0]
    """
    y, t, chosen = (np.asarray(values, dtype=np.float64) for values in (outcome, treated, treat))
    chance = np.where(t == 1, p_treated, 1 - p_treated)
    return np.asarray((t == chosen) / chance * (margin * y - cost * t), dtype=np.float64)


def standardised_differences(covariates: NDArray[np.float64], treated: ArrayLike) -> Floats:
    """(d,): |mean of the treated - mean of the controls| over the root of the mean of their variances (Austin 2009). 0
    where a covariate does not vary.
    """
    t = np.asarray(treated) == 1
    one, other = covariates[t], covariates[~t]
    spread = np.sqrt((one.var(axis=0) + other.var(axis=0)) / 2)
    apart = np.abs(one.mean(axis=0) - other.mean(axis=0))
    return np.asarray(np.divide(apart, spread, out=np.where(apart > 1e-12, np.inf, 0.0), where=spread > 1e-12))


def draws_of(cluster: ArrayLike, draws: int, seed: int) -> NDArray[np.float64]:
    """(draws, n): how often each row's cluster was drawn, of as many clusters with replacement."""
    names, place = np.unique(np.asarray(cluster), return_inverse=True)
    generator, groups = np.random.default_rng(seed), len(names)
    found = np.empty((draws, len(place)))
    for number in range(draws):
        found[number] = np.bincount(generator.integers(0, groups, groups), minlength=groups)[place]
    return found


def ends(values: Sequence[float] | Floats) -> tuple[float, float]:
    """The middle 95% of a bootstrap's values; NaN where none is finite."""
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.quantile(kept, (0.025, 0.975))
    return float(low), float(high)
