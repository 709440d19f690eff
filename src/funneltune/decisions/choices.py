"""Policies that fill places one by one from a run's scores, and their exact chances of what a log shows.

Legend: n pages of k places, C candidates each; every place is filled given the places above it, none twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Kind = Literal["softmax", "epsilon", "tilted", "uniform"]
KINDS = get_args(Kind)
ALL_BUT_NOTHING = 1e-6
"""Chance that the places above have left, below which it is summed anew: a difference would have lost its digits."""


@dataclass(frozen=True)
class Chooser:
    """How a policy goes from scores to chances.

    Args:
        kind: `softmax`: a candidate's chance is proportional to score^(1 / temperature). `epsilon`: the best one, and
            with chance `epsilon` any. `tilted`: the logging policy's chance times score^(1 / temperature). `uniform`:
            any.
        temperature: The higher, the nearer to the uniform (softmax) or the logging policy (tilted).
        epsilon: Share of exploration.
    """

    kind: Kind
    temperature: float = 1.0
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Refuse knobs out of range."""
        if self.kind not in KINDS:
            raise ConfigError(f"policy={self.kind} must be one of {', '.join(KINDS)}.")
        if not self.temperature > 0:
            raise ConfigError(f"temperature={self.temperature:g} must be > 0; near 0 the best score takes all.")
        if not 0 <= self.epsilon <= 1:
            raise ConfigError(f"epsilon={self.epsilon:g} must lie in [0, 1], the share of places that are explored.")

    def over(self, score: Floats, on_sale: NDArray[np.bool_], logging: Floats | None = None) -> Choices:
        """Its chances for n pages, from (n, C) scores >= 0.

        Raises:
            ConfigError: if it tilts the logging policy, and that one's chances of all candidates are not known.
        """
        if self.kind == "tilted" and logging is None:
            raise ConfigError(
                "policy=tilted needs the logging policy's chances of all candidates, and the log has those of what was "
                "shown only; choose softmax, epsilon or uniform."
            )
        if self.kind in ("softmax", "tilted"):
            with np.errstate(divide="ignore"):
                logit = np.log(score) / self.temperature
                logit = logit if self.kind == "softmax" else logit + np.log(np.asarray(logging))
            logit = np.where(on_sale, logit, -np.inf)
            most = logit.max(axis=1, keepdims=True)
            share = np.where(on_sale, np.exp(logit - np.where(np.isfinite(most), most, 0.0)), 0.0)
            share = np.where(np.isfinite(most), share, on_sale)  # nothing has a score: all alike
        else:
            share = on_sale.astype(np.float64)
        share = share / share.sum(axis=1, keepdims=True)
        if self.kind != "epsilon":
            return Choices(share)
        return Choices(share, np.where(on_sale, score, -np.inf), self.epsilon)


@dataclass(frozen=True)
class Choices:
    """Chances of n pages' places: with chance `explored` by `share` among what is not above, else the best one.

    Attributes:
        share: (n, C), rows add up to 1; 0 for what is not on sale.
        score: (n, C) what the best one is judged by; None: nothing but `share`.
        explored: Share of places that are filled by `share`.
    """

    share: Floats
    score: Floats | None = None
    explored: float = 1.0

    def chances(self, page: Integers) -> Floats:
        """(n, k) of each logged item, given the items above it."""
        found = np.take_along_axis(self.share, page, axis=1) / self._left(page)
        if self.score is None:
            return np.asarray(found)
        return np.asarray(self.explored * found + (1 - self.explored) * (self._best(page) == page))

    def mean(self, values: Floats, page: Integers) -> Floats:
        """(n, k) the policy's mean of (n, C) values at each place, given the logged items above it."""
        above = _sum_above(np.take_along_axis(self.share * values, page, axis=1))
        found = ((self.share * values).sum(axis=1, keepdims=True) - above) / self._left(page)
        for row, place in np.argwhere(self._thin(page)):
            rest = self.share[row].copy()
            rest[page[row, :place]] = 0.0
            found[row, place] = float(rest @ values[row]) / max(float(rest.sum()), np.finfo(float).tiny)
        if self.score is None:
            return np.asarray(found)
        best = np.take_along_axis(values, self._best(page), axis=1)
        return np.asarray(self.explored * found + (1 - self.explored) * best)

    def _left(self, page: Integers) -> Floats:
        """(n, k) the chance of all that is not above."""
        left = 1.0 - _sum_above(np.take_along_axis(self.share, page, axis=1))
        for row, place in np.argwhere(self._thin(page)):
            rest = self.share[row].copy()
            rest[page[row, :place]] = 0.0
            left[row, place] = max(float(rest.sum()), np.finfo(float).tiny)
        return left

    def _thin(self, page: Integers) -> NDArray[np.bool_]:
        return np.asarray(1.0 - _sum_above(np.take_along_axis(self.share, page, axis=1)) < ALL_BUT_NOTHING)

    def _best(self, page: Integers) -> Integers:
        """(n, k) the best item that is not above each place; equal ones in the log's order."""
        assert self.score is not None
        k = page.shape[1]
        order = np.argsort(-self.score, axis=1, kind="stable")[:, : k + 1]
        shown = order[:, :, None] == page[:, None, :]
        place = np.where(shown.any(axis=2), shown.argmax(axis=2), k)
        first = (place[:, None, :] >= np.arange(k)[None, :, None]).argmax(axis=2)
        return np.asarray(np.take_along_axis(order, first, axis=1))


def _sum_above(values: Floats) -> Floats:
    """(n, k) the sum over the places above each."""
    return np.cumsum(values, axis=1) - values
