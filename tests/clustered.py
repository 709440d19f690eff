"""Clustered rows with scores of known quality, and their placement sums."""

import numpy as np

from funneltune.metrics import ClusterPlacements, placements


def placed_by(label, score, cluster):
    label = np.asarray(label, dtype=float)
    placed = placements(score, label, 1 - label)
    n = int(cluster.max()) + 1
    parts = (label, 1 - label, label * placed.among_negatives, (1 - label) * placed.among_positives)
    return ClusterPlacements(*(np.bincount(cluster, part, n) for part in parts))


def drawn(rng, clusters=60, size=8, quality=(1.0, 0.6), within=0.7):
    """Clustered rows with two scores whose noise is shared within a cluster."""
    cluster = np.repeat(np.arange(clusters), size)
    label = (rng.random(clusters * size) < 0.3).astype(float)
    shared = rng.normal(0, within, clusters)[cluster]
    return cluster, label, [q * label + shared + rng.normal(0, 1, len(label)) for q in quality]
