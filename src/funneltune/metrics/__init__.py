"""Exact, torch-free metrics: the run and the report compute the same numbers.

Ties count one half (AUC) or by expectation (lists); nothing is binned but the calibration error.
"""

from funneltune.metrics.calibration import (
    Reliability,
    ece,
    expected_ece,
    expected_log_loss,
    log_loss,
    normalised_entropy,
    predicted_over_observed,
    predicted_over_true,
    reliability,
)
from funneltune.metrics.classification import classification_report
from funneltune.metrics.clusters import ClusterPlacements, ClusterSums
from funneltune.metrics.comparison import (
    Comparison,
    against_baselines,
    clusters_in,
    judge,
    metric_keys,
    of_scorer,
    pair,
    paired_interval,
    scorers,
)
from funneltune.metrics.differences import auc_difference, clustered_delong, contrast, mean_difference
from funneltune.metrics.discrimination import auc, expected_auc, grouped_auc, placements, pr_auc, weighted_auc
from funneltune.metrics.intervals import Interval, hedges_g, holm, minimum_detectable, seed_difference
from funneltune.metrics.protocol import ceiling, evaluate, score_metrics
from funneltune.metrics.recalibration import METHODS, RAW, calibrate, scaled, scalings
from funneltune.metrics.resampling import resample
from funneltune.metrics.scaling import Isotonic, Platt, Scaling, Temperature
from funneltune.metrics.spaces import Scorer
from funneltune.metrics.statistics import StoredStatistics, compact, read_statistics, write_statistics

__all__ = [
    "ClusterPlacements",
    "ClusterSums",
    "Comparison",
    "Interval",
    "Isotonic",
    "METHODS",
    "Platt",
    "RAW",
    "Reliability",
    "Scaling",
    "Scorer",
    "StoredStatistics",
    "Temperature",
    "against_baselines",
    "auc",
    "auc_difference",
    "calibrate",
    "ceiling",
    "classification_report",
    "clustered_delong",
    "clusters_in",
    "compact",
    "contrast",
    "ece",
    "evaluate",
    "expected_auc",
    "expected_ece",
    "expected_log_loss",
    "grouped_auc",
    "hedges_g",
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
    "predicted_over_true",
    "read_statistics",
    "reliability",
    "resample",
    "scaled",
    "scalings",
    "score_metrics",
    "scorers",
    "seed_difference",
    "weighted_auc",
    "write_statistics",
]
