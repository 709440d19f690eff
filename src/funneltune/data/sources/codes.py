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
