"""How well scores separate positives from negatives: AUC in its forms, exact and with ties counted one half.

Every function is NaN where its value is undefined (one class only); `evaluate` turns that into None with a reason.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from funneltune.metrics.ties import (
    Floats,
    Indices,
    block_lengths,
    block_starts,
    checked_labels,
    checked_probabilities,
    checked_scores,
    checked_weights,
    dense_groups,
    same_length,
    sum_by,
)


def auc(label: ArrayLike, score: ArrayLike) -> float:
    """Probability that a positive row scores above a negative one, ties counted one half (Mann-Whitney).

    Args:
        label: 0 or 1 per row.
        score: Any finite number per row; only its order matters.

    Raises:
        DataError: A label is not 0 or 1, or a score is not finite.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y, s = checked_labels(label), checked_scores(score)
    same_length(label=y, score=s)
    return weighted_auc(s, y, 1.0 - y)


def expected_auc(p_true: ArrayLike, score: ArrayLike) -> float:
    """AUC without label noise: each row counts as a positive with weight p and as a negative with weight 1 - p.

    It stands for the AUC over endless redraws of the labels, and is defined on rows whose label was never observed,
    such as the purchase of an item that nobody clicked. The oracle's own value is the ceiling, and is below 1.
    """
    p = checked_probabilities(p_true, "oracle p")
    return weighted_auc(score, p, 1.0 - p)


def weighted_auc(score: ArrayLike, positive_weight: ArrayLike, negative_weight: ArrayLike) -> float:
    """AUC where each row is a positive of one weight and a negative of another.

    sum_ij a_i b_j (1[s_i > s_j] + 1/2 1[s_i = s_j]) / (sum a . sum b)
    """
    s = checked_scores(score)
    a, b = checked_weights(positive_weight, "positive weight"), checked_weights(negative_weight, "negative weight")
    same_length(score=s, positive_weight=a, negative_weight=b)
    total = a.sum() * b.sum()
    if len(s) == 0 or total <= 0:
        return float("nan")
    order = np.argsort(s, kind="stable")
    starts = block_starts(s[order])
    a_block, b_block = np.add.reduceat(a[order], starts), np.add.reduceat(b[order], starts)
    b_below = np.cumsum(b_block) - b_block
    return float(np.dot(a_block, b_below + 0.5 * b_block) / total)


class Placements(NamedTuple):
    """Per row: the weighted share of negatives that score below it, and of positives that score above it."""

    among_negatives: Floats
    among_positives: Floats


def placements(score: ArrayLike, positive_weight: ArrayLike, negative_weight: ArrayLike) -> Placements:
    """DeLong's placement values of every row, ties counted one half; NaN where a class is absent.

    The AUC is the positives' mean of the first, and the negatives' mean of the second.
    """
    s = checked_scores(score)
    a, b = checked_weights(positive_weight, "positive weight"), checked_weights(negative_weight, "negative weight")
    rows = same_length(score=s, positive_weight=a, negative_weight=b)
    if rows == 0 or a.sum() <= 0 or b.sum() <= 0:
        return Placements(np.full(rows, np.nan), np.full(rows, np.nan))
    order = np.argsort(s, kind="stable")
    starts = block_starts(s[order])
    block = np.repeat(np.arange(len(starts)), block_lengths(starts, rows))
    a_block, b_block = np.add.reduceat(a[order], starts), np.add.reduceat(b[order], starts)
    b_share = (np.cumsum(b_block) - 0.5 * b_block) / b.sum()
    a_share = 1.0 - (np.cumsum(a_block) - 0.5 * a_block) / a.sum()
    back = np.empty(rows, dtype=np.int64)
    back[order] = block
    return Placements(b_share[back], a_share[back])


class GroupedAUC(NamedTuple):
    """An average over groups and what it left out."""

    value: float
    groups: int
    skipped: int
    """Groups of one class only, where AUC is undefined."""
    rows: int
    """Rows of the groups that count."""


def grouped_auc(label: ArrayLike, score: ArrayLike, group: ArrayLike) -> GroupedAUC:
    """GAUC: the AUC within each group (user, request), averaged with the group's impressions as weight.

    Zhu et al. 2017 (Optimized Cost per Click in Taobao), eq. 14. Groups of one class are skipped and counted.
    """
    y, s = checked_labels(label), checked_scores(score)
    index, n_groups = dense_groups(group)
    rows = same_length(label=y, score=s, group=index)
    if rows == 0:
        return GroupedAUC(float("nan"), 0, 0, 0)
    order = np.lexsort((s, index))
    starts = block_starts(index[order], s[order])
    group_of_block = index[order][starts]
    positives = np.add.reduceat(y[order], starts)
    negatives = block_lengths(starts, rows) - positives
    below_all = np.cumsum(negatives) - negatives
    below = below_all - below_all[_first_block(group_of_block)]
    wins = sum_by(group_of_block, positives * (below + 0.5 * negatives), n_groups)
    n_positive, n_rows = sum_by(index, y, n_groups), np.bincount(index, minlength=n_groups)
    pairs = n_positive * (n_rows - n_positive)
    counted = pairs > 0
    weight = n_rows[counted]
    value = float(np.average(wins[counted] / pairs[counted], weights=weight)) if counted.any() else float("nan")
    return GroupedAUC(value, n_groups, int((~counted).sum()), int(weight.sum()))


def _first_block(group_of_block: Indices) -> Indices:
    """For each block, the index of the first block of its group."""
    firsts = block_starts(group_of_block)
    return np.repeat(firsts, block_lengths(firsts, len(group_of_block)))


def pr_auc(label: ArrayLike, score: ArrayLike) -> float:
    """Average precision: precision at each distinct score, weighted by the recall that it adds; no interpolation.

    NaN where a class is absent: without negatives every score would get 1.
    """
    y, s = checked_labels(label), checked_scores(score)
    rows = same_length(label=y, score=s)
    if y.sum() in (0, rows):
        return float("nan")
    order = np.argsort(-s, kind="stable")
    starts = block_starts(s[order])
    hits = np.add.reduceat(y[order], starts)
    shown = np.cumsum(block_lengths(starts, rows))
    return float(np.dot(hits / y.sum(), np.cumsum(hits) / shown))
