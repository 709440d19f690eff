"""Labels that are one of several levels: ordinal (stars) and multiclass (the category needed next).

Legend: n rows, K levels numbered 0 .. K - 1; `p` is (n, K), its rows add up to 1. NaN where a value is undefined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import DataError
from funneltune.funnel import Task
from funneltune.metrics.calibration import SMALLEST_P
from funneltune.metrics.spaces import Columns, column
from funneltune.metrics.ties import Floats, Indices, checked_probabilities

Levels = NDArray[np.int64]
LARGEST_GAP = 0.01
"""Between 1 and the sum of a row's probabilities: half precision rounds."""


def checked_levels(label: NDArray, task: Task) -> Levels:
    """Numbers of levels. Raises DataError where one is none of the task's."""
    wrong = ~np.isin(label, np.arange(len(task.levels)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{task.name}: row {row} is {label[row]}, but a level is 0 to {len(task.levels) - 1}.")
    return np.asarray(label, dtype=np.int64)


def probabilities(columns: Columns, task: Task, rows: Indices) -> Floats:
    """(n, K): the predicted probability of each level on some rows. Raises DataError where they do not add up to 1."""
    p = np.stack([checked_probabilities(column(columns, name)[rows], name) for name in task.predicted], axis=1)
    wrong = np.abs(p.sum(axis=1) - 1.0) > LARGEST_GAP
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{task.name}: probabilities of row {row} add up to {p[row].sum():.4g}, but must to 1.")
    return p


def row_level_losses(label: Levels, p: Floats) -> Floats:
    """-log p of the level that came, per row, in nats."""
    found = p[np.arange(len(label)), label]
    return np.asarray(-np.log(np.clip(found, SMALLEST_P, None)), dtype=np.float64)


def ranked_probability_scores(label: Levels, p: Floats) -> Floats:
    """Squared distance of the cumulative distributions, over K - 1 (Epstein 1969); a near miss costs little."""
    levels = np.arange(p.shape[1] - 1)
    happened = label[:, None] <= levels
    return np.asarray(((p.cumsum(axis=1)[:, :-1] - happened) ** 2).mean(axis=1), dtype=np.float64)


def likeliest(p: Floats) -> Levels:
    """The level of the highest probability, the lower one at a tie."""
    return np.asarray(p.argmax(axis=1), dtype=np.int64)


def median_level(p: Floats) -> Levels:
    """The lowest level whose cumulative probability reaches one half: it minimises the expected absolute error."""
    return np.asarray((p.cumsum(axis=1) < 0.5 - 1e-12).sum(axis=1).clip(max=p.shape[1] - 1), dtype=np.int64)


def macro_f1(label: Levels, predicted: Levels) -> float:
    """F1 of each level that came or was predicted, averaged."""
    present = np.union1d(label, predicted)
    if not len(present):
        return float("nan")
    hits = np.array([((label == k) & (predicted == k)).sum() for k in present])
    either = np.array([(label == k).sum() + (predicted == k).sum() for k in present])
    return float((2 * hits / either).mean())


def quadratic_weighted_kappa(label: Levels, predicted: Levels, levels: int) -> float:
    """Agreement beyond chance, a miss weighed by its squared distance (Cohen 1968); 1 is perfect, 0 is chance.

    NaN where every label is the same level: any prediction would get 0.
    """
    if not len(label) or (label == label[0]).all():
        return float("nan")
    seen = np.zeros((levels, levels))
    np.add.at(seen, (label, predicted), 1.0)
    chance = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / max(len(label), 1)
    weight = (np.arange(levels)[:, None] - np.arange(levels)[None, :]) ** 2
    by_chance = float((weight * chance).sum())
    return 1.0 - float((weight * seen).sum()) / by_chance if by_chance else float("nan")
