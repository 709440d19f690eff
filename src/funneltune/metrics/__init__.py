"""Exact, torch-free metrics: the run and the report compute the same numbers.

Ties count one half (AUC) or by expectation (lists); nothing is binned but the calibration error.
"""

from funneltune.metrics.calibration import ece, log_loss, normalised_entropy, predicted_over_observed
from funneltune.metrics.classification import classification_report
from funneltune.metrics.comparison import (
    Comparison,
    against_baselines,
    judge,
    metric_keys,
    of_scorer,
    pair,
    paired_interval,
    scorers,
)
from funneltune.metrics.discrimination import auc, expected_auc, grouped_auc, placements, pr_auc, weighted_auc
from funneltune.metrics.intervals import (
    ClusterPlacements,
    ClusterSums,
    Interval,
    auc_difference,
    clustered_delong,
    holm,
    mean_difference,
    minimum_detectable,
    seed_difference,
)
from funneltune.metrics.protocol import ceiling, evaluate, score_metrics
from funneltune.metrics.spaces import Scorer
from funneltune.metrics.statistics import compact, read_statistics, write_statistics

__all__ = [
    "ClusterPlacements",
    "ClusterSums",
    "Comparison",
    "Interval",
    "Scorer",
    "against_baselines",
    "auc",
    "auc_difference",
    "ceiling",
    "classification_report",
    "clustered_delong",
    "compact",
    "ece",
    "evaluate",
    "expected_auc",
    "grouped_auc",
    "holm",
    "judge",
    "log_loss",
    "mean_difference",
    "metric_keys",
    "minimum_detectable",
    "normalised_entropy",
    "of_scorer",
    "pair",
    "paired_interval",
    "placements",
    "pr_auc",
    "predicted_over_observed",
    "read_statistics",
    "score_metrics",
    "scorers",
    "seed_difference",
    "weighted_auc",
    "write_statistics",
]
