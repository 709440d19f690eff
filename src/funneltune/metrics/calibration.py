"""How far probabilities are from what happened, or from true ones that an oracle knows. NaN where undefined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from funneltune.errors import DataError
from funneltune.metrics.ties import (
    Floats,
    Indices,
    block_lengths,
    block_starts,
    checked_labels,
    checked_probabilities,
    same_length,
)

SMALLEST_P = float(np.finfo(np.float64).eps)
"""Probabilities are cut to [eps, 1 - eps] before a logarithm, as in scikit-learn: a sure wrong row costs 36 nats."""


def row_log_losses(label: ArrayLike, p: ArrayLike) -> Floats:
    """Negative log-likelihood of each row, in nats."""
    y, q = checked_labels(label), checked_probabilities(p)
    same_length(label=y, p=q)
    return _cross_entropies(y, q)


def row_expected_log_losses(p_true: ArrayLike, p: ArrayLike) -> Floats:
    """Log loss that each row has on average over labels drawn with its true probability, in nats.

    -[p* log p + (1 - p*) log(1 - p)], p* of the oracle: least where p = p*, and then the entropy of the label.
    """
    truth, q = _truth_and_said(p_true, p)
    return _cross_entropies(truth, q)


def log_loss(label: ArrayLike, p: ArrayLike) -> float:
    """Mean negative log-likelihood, in nats."""
    losses = row_log_losses(label, p)
    return float(losses.mean()) if len(losses) else float("nan")


def expected_log_loss(p_true: ArrayLike, p: ArrayLike) -> float:
    """Mean cross-entropy of p under the true probabilities, in nats; no row needs a label."""
    losses = row_expected_log_losses(p_true, p)
    return float(losses.mean()) if len(losses) else float("nan")


def normalised_entropy(label: ArrayLike, p: ArrayLike) -> float:
    """Log loss over that of always saying the average rate (He et al. 2014, eq. 3); 1 is worthless, lower is better."""
    y, q = checked_labels(label), checked_probabilities(p)
    same_length(label=y, p=q)
    rate = float(y.mean()) if len(y) else 0.0
    if rate in (0.0, 1.0):
        return float("nan")
    return float(log_loss(y, q) / -(rate * np.log(rate) + (1.0 - rate) * np.log1p(-rate)))


def ece(label: ArrayLike, p: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error over bins of equal mass: mean |average p - positive rate|, weighted by rows.

    Rows of equal p share their average label, so that the order of rows never moves the value.
    """
    y, q = checked_labels(label), checked_probabilities(p)
    same_length(label=y, p=q)
    return _binned_gap(y, q, bins)


@dataclass(frozen=True)
class Reliability:
    """Bins of equal mass, p ascending. The mean of |predicted - observed|, weighted by n, is the sample's `ece`."""

    predicted: tuple[float, ...]
    """Mean p of each bin."""
    observed: tuple[float, ...]
    """Share of positives; rows of equal p share their average label, also over two bins."""
    n: tuple[int, ...]
    """Rows."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"predicted": list(self.predicted), "observed": list(self.observed), "n": list(self.n)}


def reliability(label: ArrayLike, p: ArrayLike, bins: int = 15) -> Reliability:
    """The reliability curve over the bins of `ece`; without rows, without bins."""
    y, q = checked_labels(label), checked_probabilities(p)
    same_length(label=y, p=q)
    if len(q) == 0 and bins >= 1:
        return Reliability((), (), ())
    q, rate, edges = _binned(y, q, bins)
    n = block_lengths(edges, len(q))
    predicted, observed = np.add.reduceat(q, edges) / n, np.add.reduceat(rate, edges) / n
    return Reliability(tuple(predicted.tolist()), tuple(observed.tolist()), tuple(n.tolist()))


def expected_ece(p_true: ArrayLike, p: ArrayLike, bins: int = 15) -> float:
    """Calibration error against the true probabilities: mean |average p - average true p| over bins of equal mass.

    Unlike `ece` it is 0 for the oracle itself: no chance of labels is in it.
    """
    truth, q = _truth_and_said(p_true, p)
    return _binned_gap(truth, q, bins)


def predicted_over_observed(label: ArrayLike, p: ArrayLike) -> float:
    """Sum of p over the number of positives; 1 is calibrated on the whole."""
    y, q = checked_labels(label), checked_probabilities(p)
    same_length(label=y, p=q)
    return float(q.sum() / y.sum()) if y.sum() else float("nan")


def predicted_over_true(p_true: ArrayLike, p: ArrayLike) -> float:
    """Sum of p over the sum of the true probabilities; 1 is calibrated on the whole."""
    truth, q = _truth_and_said(p_true, p)
    return float(q.sum() / truth.sum()) if truth.sum() else float("nan")


def _truth_and_said(p_true: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    truth, q = checked_probabilities(p_true, "oracle p"), checked_probabilities(p)
    same_length(p_true=truth, p=q)
    return truth, q


def _cross_entropies(target: Floats, q: Floats) -> Floats:
    q = np.clip(q, SMALLEST_P, 1.0 - SMALLEST_P)
    return np.asarray(-(target * np.log(q) + (1.0 - target) * np.log1p(-q)), dtype=np.float64)


def _binned_gap(target: Floats, q: Floats, bins: int) -> float:
    if len(q) == 0 and bins >= 1:
        return float("nan")
    q, rate, edges = _binned(target, q, bins)
    gap = np.add.reduceat(q - rate, edges)
    return float(np.abs(gap).sum() / len(q))


def _binned(target: Floats, q: Floats, bins: int) -> tuple[Floats, Floats, Indices]:
    """Ascending p, the average target of the rows that share each p, and where each bin of equal mass begins."""
    if bins < 1:
        raise DataError(f"metrics.bins={bins} must be >= 1; 15 is usual.")
    rows = len(q)
    order = np.argsort(q, kind="stable")
    starts = block_starts(q[order])
    lengths = block_lengths(starts, rows)
    rate = np.repeat(np.add.reduceat(target[order], starts) / lengths, lengths)
    edges = np.unique(np.linspace(0, rows, min(bins, rows) + 1).round().astype(np.int64))[:-1]
    return q[order], rate, edges
