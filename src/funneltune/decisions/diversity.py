"""How alike two candidates are, and how alike a page's items are among themselves. NumPy only.

Legend: C candidates; K columns; vectors are W wide.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Likeness(Protocol):
    """How alike candidates are: 1 where they are the same."""

    def to(self, candidate: int) -> Floats:
        """(C,): of one candidate to each."""
        ...


class VectorLikeness:
    """The cosine of item vectors.

    Args:
        vectors: (C, W); a vector of zeros is like nothing.
    """

    def __init__(self, vectors: NDArray[np.floating]) -> None:
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._unit = vectors / np.where(length > 0, length, 1.0)

    def to(self, candidate: int) -> Floats:
        """Cosines, from -1 to 1."""
        return np.asarray(self._unit @ self._unit[candidate], dtype=np.float64)


class ColumnLikeness:
    """The share of some columns (category, brand) in which two items have the same value.

    Args:
        codes: (C, K), a number for each value of each column.
    """

    def __init__(self, codes: Integers) -> None:
        self._codes = codes

    def to(self, candidate: int) -> Floats:
        """Shares, from 0 to 1."""
        return np.asarray((self._codes == self._codes[candidate]).mean(axis=1), dtype=np.float64)


def intra_list_similarity(likeness: Likeness, chosen: Integers) -> float:
    """Mean likeness over the pairs of a page, high where it repeats itself; NaN on a page of fewer than two.

    Ziegler et al. 2005, their sum over pairs divided by the number of pairs, so that pages of all lengths compare.
    """
    n = len(chosen)
    if n < 2:
        return float("nan")
    pairs = sum(float(likeness.to(int(one))[chosen[place + 1 :]].sum()) for place, one in enumerate(chosen))
    return pairs / (n * (n - 1) / 2)
