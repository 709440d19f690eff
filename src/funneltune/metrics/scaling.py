"""Calibration scaling: maps from said to likelier probabilities, fitted on labels that training did not see.

Each is a frozen dataclass with `fit(label, p)`, `apply(p)`, `to_json()` and `from_json(...)`. With z the logit of p:

    temperature  sigmoid(z / T)                                     Guo et al. 2017, eq. 9 for two classes
    Platt        sigmoid(a z + b), fitted to smoothed targets       Platt 1999
    isotonic     the best steps that never fall, joined by lines    Zadrozny and Elkan 2002
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit

from funneltune.errors import DataError
from funneltune.metrics.calibration import SMALLEST_P
from funneltune.metrics.ties import (
    Floats,
    block_lengths,
    block_starts,
    checked_labels,
    checked_probabilities,
    same_length,
)

Read = TypeVar("Read")

STEEPEST = 100.0
"""Temperatures lie in [1 / 100, 100]: on rows that p parts without a fault the likelihood has no maximum."""
NEWTON_STEPS, GRADIENT_LEFT = 100, 1e-10


@dataclass(frozen=True)
class Temperature:
    """sigmoid(z / T): above 1 it draws probabilities towards one half, below 1 away from it. Never changes an order."""

    temperature: float

    def __post_init__(self) -> None:
        """A temperature that is not above 0 would turn or lose the order."""
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise DataError(f"temperature={self.temperature!r} must be a number above 0; 1 changes nothing.")

    @classmethod
    def fit(cls, label: ArrayLike, p: ArrayLike) -> Self:
        """The temperature of the largest likelihood, within [1 / 100, 100]."""
        y, q = _sample(label, p)
        z = logits(q)

        def slope_at(steepness: float) -> float:
            return float(z @ (expit(steepness * z) - y))  # of the negative log-likelihood, which is convex in 1 / T

        least, most = 1.0 / STEEPEST, STEEPEST
        if slope_at(least) >= 0.0:
            return cls(1.0 / least)
        if slope_at(most) <= 0.0:
            return cls(1.0 / most)
        return cls(1.0 / float(brentq(slope_at, least, most, xtol=1e-14, rtol=1e-13)))

    def apply(self, p: ArrayLike) -> Floats:
        """Calibrated probabilities."""
        return np.asarray(expit(logits(p) / self.temperature), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return _read(cls, content, temperature=float)


@dataclass(frozen=True)
class Platt:
    """sigmoid(a z + b): a logistic regression on the logit. A slope above 0 never changes an order."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        """Both are numbers."""
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise DataError(f"slope={self.slope!r}, intercept={self.intercept!r} must be finite; fit them anew.")

    @classmethod
    def fit(cls, label: ArrayLike, p: ArrayLike) -> Self:
        """Slope and intercept of the least cross-entropy to Platt's targets, by Newton's method.

        The targets are (N+ + 1) / (N+ + 2) and 1 / (N- + 2) instead of 1 and 0 (Platt 1999): what a uniform
        prior says of labels seen so often. With them a maximum exists even where p parts the labels without a fault.
        """
        y, q = _sample(label, p)
        low, high = surest(y)
        target, z = np.where(y == 1.0, high, low), logits(q)
        design = np.stack([z, np.ones_like(z)], axis=1)
        at = np.array([1.0, 0.0])
        loss = _cross_entropy(design @ at, target)
        for _ in range(NEWTON_STEPS):
            said = expit(design @ at)
            gradient = design.T @ (said - target)
            if np.abs(gradient).max() <= GRADIENT_LEFT * len(y):
                break
            curvature = (design * (said * (1.0 - said))[:, None]).T @ design
            step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]  # where all z are equal, the shortest of many
            share = 1.0
            while share > 1e-10 and _cross_entropy(design @ (at - share * step), target) > loss:
                share /= 2.0
            at = at - share * step
            loss = _cross_entropy(design @ at, target)
        return cls(float(at[0]), float(at[1]))

    def apply(self, p: ArrayLike) -> Floats:
        """Calibrated probabilities."""
        return np.asarray(expit(self.slope * logits(p) + self.intercept), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return _read(cls, content, slope=float, intercept=float)


@dataclass(frozen=True)
class Isotonic:
    """The best monotone map: constant between the ends of each block of pooled rows, a line from block to block.

    It never decreases, but makes rows equal that were not: an AUC may move. Below the first and above the last knot it
    is constant.
    """

    said: tuple[float, ...]
    """p at the knots, ascending."""
    likely: tuple[float, ...]
    """Calibrated p at the knots, never falling."""

    def __post_init__(self) -> None:
        """Knots must make a monotone map."""
        object.__setattr__(self, "said", tuple(self.said))
        object.__setattr__(self, "likely", tuple(self.likely))
        if not self.said or len(self.said) != len(self.likely):
            raise DataError(
                f"isotonic: {len(self.said)} knots of p with {len(self.likely)} values; give one value per knot."
            )
        if (np.diff(self.said) <= 0).any() or (np.diff(self.likely) < 0).any():
            raise DataError("isotonic: knots must ascend and their values never fall; fit them anew.")

    @classmethod
    def fit(cls, label: ArrayLike, p: ArrayLike) -> Self:
        """Least squares under the order, by pooling adjacent violators; rows of equal p share their average label.

        Values are cut to Platt's targets, [1 / (N- + 2), (N+ + 1) / (N+ + 2)]: a block of equal labels would say 0 or
        1, and one row of the other kind would then cost an infinite log loss. Nothing is surer than the sample allows.
        """
        y, q = _sample(label, p)
        order = np.argsort(q, kind="stable")
        starts = block_starts(q[order])
        weight = block_lengths(starts, len(q)).astype(np.float64)
        rate = np.add.reduceat(y[order], starts) / weight
        fitted = np.clip(isotonic_regression(rate, weights=weight).x, *surest(y))
        same_as_left = np.append(False, fitted[1:] == fitted[:-1])
        same_as_right = np.append(fitted[1:] == fitted[:-1], False)
        ends = ~(same_as_left & same_as_right)
        return cls(tuple(q[order][starts][ends].tolist()), tuple(fitted[ends].tolist()))

    def apply(self, p: ArrayLike) -> Floats:
        """Calibrated probabilities."""
        return np.asarray(np.interp(checked_probabilities(p), self.said, self.likely), dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"said": list(self.said), "likely": list(self.likely)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return _read(cls, content, said=_numbers, likely=_numbers)


Scaling = Temperature | Platt | Isotonic
SCALINGS: dict[str, type[Temperature] | type[Platt] | type[Isotonic]] = {
    "temperature": Temperature,
    "platt": Platt,
    "isotonic": Isotonic,
}


def logits(p: ArrayLike) -> Floats:
    """log(p / (1 - p)), with p cut to [eps, 1 - eps] as in `log_loss`: within ±36."""
    q = np.clip(checked_probabilities(p), SMALLEST_P, 1.0 - SMALLEST_P)
    return np.asarray(np.log(q) - np.log1p(-q), dtype=np.float64)


def surest(label: Floats) -> tuple[float, float]:
    """Platt's targets for the labels 0 and 1, and the surest values that isotonic says."""
    positives = float(label.sum())
    return 1.0 / (len(label) - positives + 2.0), (positives + 1.0) / (positives + 2.0)


def _sample(label: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    y, q = checked_labels(label), checked_probabilities(p)
    same_length(label=y, p=q)
    if not 0 < y.sum() < len(y):
        raise DataError(f"calibration: {int(y.sum())} of {len(y)} labels are 1; a scaling is fitted to both kinds.")
    return y, q


def _cross_entropy(z: Floats, target: Floats) -> float:
    return float(np.mean(np.logaddexp(0.0, z) - target * z))


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _read(cls: type[Read], content: Mapping[str, Any], **kinds: Callable[[Any], Any]) -> Read:
    try:
        return cls(**{name: kind(content[name]) for name, kind in kinds.items()})
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"calibration: {dict(content)} are no parameters of {cls.__name__} ({', '.join(kinds)}); fit them anew."
        ) from None
