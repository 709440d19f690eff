"""What an AUC, a mean and a function of sums are made of, cluster by cluster.

Clusters are requests, or users where each request is a single row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.metrics.formulas import Formula
from funneltune.metrics.ties import Floats, same_length


@dataclass(frozen=True)
class ClusterPlacements:
    """What an AUC is made of, per cluster: weights of positives and negatives, sums of their placement values."""

    positives: Floats
    negatives: Floats
    among_negatives: Floats
    among_positives: Floats

    def __post_init__(self) -> None:
        """Refuse parts of different clusters."""
        same_length(**vars(self))

    @property
    def auc(self) -> float:
        """The AUC over all clusters; NaN where a class is absent."""
        total = float(self.positives.sum())
        return float(self.among_negatives.sum() / total) if total > 0 and self.negatives.sum() > 0 else float("nan")

    @property
    def value(self) -> float:
        """The AUC, by the name that it shares with `ClusterSums`."""
        return self.auc

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Clusters that hold a row."""
        return (self.positives > 0) | (self.negatives > 0)

    def same_rows(self, other: ClusterPlacements) -> bool:
        """Whether two scorers were measured on the same clusters and labels."""
        return _alike(self.positives, other.positives) and _alike(self.negatives, other.negatives)


@dataclass(frozen=True)
class ClusterSums:
    """What a mean is made of, per cluster: a sum and a weight."""

    sums: Floats
    weights: Floats

    def __post_init__(self) -> None:
        """Refuse parts of different clusters."""
        same_length(**vars(self))

    @property
    def mean(self) -> float:
        """Sum over weight; NaN where nothing counts."""
        total = float(self.weights.sum())
        return float(self.sums.sum() / total) if total > 0 else float("nan")

    @property
    def value(self) -> float:
        """The mean, by the name that it shares with `ClusterPlacements`."""
        return self.mean

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Clusters that count: requests without a purchase carry nothing."""
        return self.weights > 0

    def same_rows(self, other: ClusterSums) -> bool:
        """Whether two means were taken over clusters of the same weights."""
        return _alike(self.weights, other.weights)


@dataclass(frozen=True)
class ClusterTotals:
    """What a function of sums is made of: (clusters, parts) of its formula's parts."""

    formula: Formula
    totals: Floats

    @property
    def value(self) -> float:
        """The function of all clusters' sums."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(self.formula.of(self.totals.sum(axis=0)))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Clusters that hold a row."""
        return np.asarray(self.totals.any(axis=1))

    def same_rows(self, other: ClusterTotals) -> bool:
        """Whether two values were taken over as many clusters; which these are, their units tell."""
        return len(self.totals) == len(other.totals)


Clusters = ClusterPlacements | ClusterSums | ClusterTotals


def _alike(one: Floats, other: Floats) -> bool:
    """Whether weights are the same, but for the rounding of sums of an oracle's probabilities."""
    return one is other or np.array_equal(one, other) or (one.shape == other.shape and np.allclose(one, other, 1e-5))


def by_rows(replicates: Sequence[Clusters], known: Sequence[object] = ()) -> list[list[int]]:
    """Indices of the replicates that were tested on the same rows, group by group.

    Args:
        replicates: One method's runs.
        known: What else tells rows apart (the log's fingerprint, the requests), one entry per run, held against `==`.
    """
    found: list[list[int]] = []
    for index, one in enumerate(replicates):
        for group in found:
            other = group[0]
            alike = not known or known[index] == known[other]
            if alike and one.same_rows(replicates[other]):  # type: ignore[arg-type]
                group.append(index)
                break
        else:
            found.append([index])
    return found
