"""Exact, torch-free metrics: the run and the report compute the same numbers.

Ties count one half (AUC) or by expectation (lists); nothing is binned but the calibration error.
"""

from funneltune.metrics.calibration import ece, log_loss, normalised_entropy, predicted_over_observed
from funneltune.metrics.classification import classification_report
from funneltune.metrics.discrimination import auc, expected_auc, grouped_auc, placements, pr_auc, weighted_auc
from funneltune.metrics.protocol import ceiling, evaluate, score_metrics

__all__ = [
    "auc",
    "ceiling",
    "classification_report",
    "ece",
    "evaluate",
    "expected_auc",
    "grouped_auc",
    "log_loss",
    "normalised_entropy",
    "placements",
    "pr_auc",
    "predicted_over_observed",
    "score_metrics",
    "weighted_auc",
]
