"""Checked inputs, and runs of equal keys: what every rank statistic here is built from."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from funneltune.errors import DataError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def checked_labels(label: ArrayLike, name: str = "label") -> Floats:
    """Labels as float64. Raises DataError where one is neither 0 nor 1 (NaN included)."""
    values = _one_axis(np.asarray(label), name)
    wrong = ~((values == 0) | (values == 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{name}: row {row} is {values[row]}, but a label must be 0 or 1; clean the column first.")
    return values.astype(np.float64)


def checked_scores(score: ArrayLike, name: str = "score") -> Floats:
    """Scores as float64. Raises DataError where one is NaN or infinite: sorting would place it silently."""
    try:
        values = _one_axis(np.asarray(score, dtype=np.float64), name)
    except (TypeError, ValueError):
        raise DataError(f"{name}: it holds something else than numbers; pass one number per row.") from None
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{name}: row {row} is {values[row]} ({int(wrong.sum())} of {values.size} rows are not finite); "
            "scores must be finite, so look for a run that diverged."
        )
    return values


def checked_probabilities(p: ArrayLike, name: str = "p") -> Floats:
    """Probabilities as float64. Raises DataError outside [0, 1]."""
    values = checked_scores(p, name)
    wrong = (values < 0) | (values > 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{name}: row {row} is {values[row]}, but a probability must lie in [0, 1]; pass p, not a logit."
        )
    return values


def checked_weights(weight: ArrayLike, name: str) -> Floats:
    """Weights as float64. Raises DataError where one is negative: a rank statistic of them means nothing."""
    values = checked_scores(weight, name)
    if (values < 0).any():
        row = int(np.argmax(values < 0))
        raise DataError(f"{name}: row {row} is {values[row]}, but a weight must be >= 0; check the column.")
    return values


def _one_axis(values: NDArray, name: str) -> NDArray:
    if values.ndim != 1:
        raise DataError(f"{name}: it has the shape {values.shape}; a metric takes one value per row, so flatten it.")
    return values


def same_length(**columns: NDArray[np.generic]) -> int:
    """The common number of rows. Raises DataError where columns differ."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        spelt = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise DataError(f"columns differ in length: {spelt} rows; they must describe the same rows.")
    return next(iter(lengths.values()), 0)


def block_starts(*sorted_keys: NDArray[np.generic]) -> Indices:
    """Where each run of equal keys begins, in arrays that are sorted by those keys; empty for empty arrays."""
    rows = len(sorted_keys[0])
    if rows == 0:
        return np.zeros(0, dtype=np.int64)
    new = np.zeros(rows, dtype=bool)
    new[0] = True
    for key in sorted_keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new).astype(np.int64)


def block_lengths(starts: Indices, rows: int) -> Indices:
    """Rows of each run, given where the runs begin."""
    return np.diff(np.append(starts, rows)).astype(np.int64)


def dense_groups(group: ArrayLike) -> tuple[Indices, int]:
    """Groups renumbered 0 .. n-1 in sorted order, and n."""
    names, index = np.unique(np.asarray(group), return_inverse=True)
    return index.astype(np.int64), len(names)


def sum_by(group: Indices, values: Floats, n_groups: int) -> Floats:
    """Sum of `values` per group number 0 .. n_groups - 1."""
    return np.asarray(np.bincount(group, values, n_groups), dtype=np.float64)
