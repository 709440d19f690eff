"""Values to integers in the order of their first appearance, chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class Codes:
    """A growing dictionary: each distinct value once, in order of appearance."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}

    def __len__(self) -> int:
        """Distinct values seen."""
        return len(self.index)

    def encode(self, values: pd.Series[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Codes of a chunk, and the chunk's positions where a value appears for the first time of all."""
        local, distinct = pd.factorize(values.to_numpy(dtype=object))
        first_position = np.full(len(distinct), len(local), dtype=np.int64)
        np.minimum.at(first_position, local, np.arange(len(local)))
        known = len(self.index)
        codes = np.array([self.index.setdefault(str(value), len(self.index)) for value in distinct], dtype=np.int64)
        return codes[local], np.sort(first_position[codes >= known])

    @property
    def keys(self) -> list[str]:
        """The values, by code."""
        return list(self.index)


class FirstTexts:
    """Which entities come with another text than their first. Of each text a hash is kept, not the text."""

    def __init__(self) -> None:
        self._first, self._several = np.zeros(0, np.int64), np.zeros(0, bool)

    def add(self, texts: pd.Series[Any], codes: NDArray[np.int64], fresh: NDArray[np.int64]) -> None:
        """A chunk's texts, the codes of their entities, and where an entity appears for the first time."""
        if (known := int(codes.max(initial=-1)) + 1) > len(self._first):
            more = max(known, 2 * len(self._first)) - len(self._first)
            self._first = np.concatenate([self._first, np.zeros(more, np.int64)])
            self._several = np.concatenate([self._several, np.zeros(more, bool)])
        local, distinct = pd.factorize(texts.to_numpy(dtype=object))
        hashes = np.array([hash(text) for text in distinct], dtype=np.int64)[local]
        self._first[codes[fresh]] = hashes[fresh]
        self._several[codes[hashes != self._first[codes]]] = True

    def __len__(self) -> int:
        """How many they are."""
        return int(self._several.sum())


class IntegerCodes:
    """Whole numbers likewise, in sorted arrays: eight bytes a value. A chunk's new values are in order of size."""

    def __init__(self) -> None:
        self._sorted, self._codes = np.zeros(0, np.int32), np.zeros(0, np.int32)

    def __len__(self) -> int:
        """Distinct values seen."""
        return len(self._sorted)

    def encode(self, values: NDArray[np.int32]) -> NDArray[np.int32]:
        """Codes of a chunk."""
        distinct, local = np.unique(values, return_inverse=True)
        place = np.searchsorted(self._sorted, distinct)
        known = np.zeros(len(distinct), dtype=bool)
        inside = place < len(self)
        known[inside] = self._sorted[place[inside]] == distinct[inside]
        if not known.all():
            fresh = np.arange(len(self), len(self) + int((~known).sum()), dtype=np.int32)
            self._codes = np.insert(self._codes, place[~known], fresh)
            self._sorted = np.insert(self._sorted, place[~known], distinct[~known])
        return self._codes[np.searchsorted(self._sorted, distinct)][local]

    @property
    def keys(self) -> NDArray[np.int32]:
        """The values, by code."""
        found = np.empty(len(self), np.int32)
        found[self._codes] = self._sorted
        return found
