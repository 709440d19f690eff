"""What every way of finding candidates gives back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from funneltune.data import Asked
from funneltune.errors import ConfigError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Found(NamedTuple):
    """The items found for some requests, best first."""

    numbers: Integers
    """(requests, k): items by their number in the log, -1 behind the last."""
    scores: Floats
    """(requests, k): the way's own score, higher is better, -inf behind the last. Scales differ from way to way."""


class Candidates(Protocol):
    """A way of finding items of the whole catalogue for a request."""

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The best k items of each request, equal ones in the log's order; fewer where the way has no more to say."""
        ...


def best(scores: Floats, k: int, said: NDArray[np.bool_] | None = None) -> tuple[Integers, Floats]:
    """((k,), (k,)): the k highest of some items' scores, equal ones by number, -1 and -inf behind the last.

    Args:
        scores: (items,).
        k: How many.
        said: (items,): where a score says something; everywhere by default.
    """
    numbers = np.arange(len(scores)) if said is None else np.flatnonzero(said)
    left = scores[numbers]
    if len(left) > k:  # all that tie with the k-th stay in until they are sorted
        least = np.partition(left, len(left) - k)[len(left) - k]
        numbers, left = numbers[left >= least], left[left >= least]
    order = np.argsort(-left, kind="stable")[:k]
    return padded(numbers[order], left[order], k)


def padded(numbers: Integers, scores: Floats, k: int) -> tuple[Integers, Floats]:
    """Both filled up to k places, with -1 and -inf."""
    behind = k - len(numbers)
    return (
        np.pad(np.asarray(numbers, dtype=np.int64), (0, behind), constant_values=-1),
        np.pad(np.asarray(scores, dtype=np.float64), (0, behind), constant_values=-np.inf),
    )


def empty(requests: int, k: int) -> Found:
    """Nothing, for each request."""
    return Found(np.full((requests, k), -1, dtype=np.int64), np.full((requests, k), -np.inf))


def require_count(k: int) -> None:
    """Refuse to find nothing.

    Raises:
        ConfigError: if k < 1.
    """
    if k < 1:
        raise ConfigError(f"k={k} must be >= 1, the number of items to find.")
