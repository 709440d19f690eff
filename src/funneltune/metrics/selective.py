"""Answering only what one is sure of: risk against coverage, and a threshold whose errors are bounded.

Legend: n questions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from funneltune.errors import ConfigError
from funneltune.metrics.ties import Floats, same_length

COVERAGES = tuple(share / 10 for share in range(1, 11))
"""Shares of the questions that a threshold is tried at."""


class Threshold(NamedTuple):
    """From which confidence on one answers."""

    value: float
    """Infinite: nothing can be answered with that assurance."""
    answered: int
    errors: int
    bound: float
    """The upper limit of the chance that an answer is wrong, at the asked assurance."""


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    """((n,), (n,)): the share that is answered and the share of wrong answers, from the surest question on.

    Questions of one confidence are answered together: their entries are those of the last.
    """
    sure, right = _checked(confidence, correct)
    order = np.argsort(-sure, kind="stable")
    answered = np.arange(1, len(sure) + 1)
    wrong = np.cumsum(1.0 - right[order])
    last = np.searchsorted(-sure[order], -sure[order], side="right") - 1
    return answered[last] / len(sure), wrong[last] / answered[last]


def error_bound(errors: int, answered: int, assurance: float = 0.95) -> float:
    """The largest chance of an error that still gives so few with a probability of 1 - assurance (Clopper and Pearson
    1934, one-sided).

    >>> round(error_bound(0, 29), 3)  # the rule of three: about 3 / n
    0.098
    """
    if answered == 0 or errors >= answered:
        return 1.0
    return float(special.betaincinv(errors + 1, answered - errors, assurance))


def threshold_for(confidence: ArrayLike, correct: ArrayLike, precision: float, assurance: float = 0.95) -> Threshold:
    """The lowest confidence from which on answers are right with `precision`, with that assurance over the draw of
    these questions: selection with guaranteed risk (Geifman and El-Yaniv 2017), over a fixed grid of coverages in place
    of their binary search, each bounded at its part of 1 - assurance.

    Args:
        confidence: (n,) of questions that were not used to make it.
        correct: (n,) whether the answer was right.
        precision: Wanted share of right answers among those given.
        assurance: Chance that the promise holds.

    Raises:
        ConfigError: if precision or assurance are no chances below 1.
    """
    for name, value in (("precision", precision), ("assurance", assurance)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}={value:g} must lie between 0 and 1.")
    sure, right = _checked(confidence, correct)
    ordered = np.sort(sure)[::-1]
    each = 1.0 - (1.0 - assurance) / len(COVERAGES)
    found = Threshold(math.inf, 0, 0, 1.0)
    for coverage in COVERAGES:
        if not len(sure):
            break
        at = float(ordered[max(1, round(coverage * len(sure))) - 1])
        answered = sure >= at
        errors = round(float((1.0 - right[answered]).sum()))
        bound = error_bound(errors, int(answered.sum()), each)
        if bound <= 1.0 - precision:
            found = Threshold(at, int(answered.sum()), errors, bound)
    return found


def _checked(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    same_length(confidence=sure, correct=right)
    return sure, right
