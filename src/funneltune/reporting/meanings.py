"""What a metric says, in a sentence, for readers who do not use it every day."""

from __future__ import annotations

import re

MEANINGS = {
    "auc": "How often a positive row is scored above a negative one: 0.5 is chance, 1 perfect order.",
    "expected_auc": "AUC without the noise of labels: each row is a positive with its true probability.",
    "gauc_request": "AUC within each request, averaged: order inside one result page.",
    "gauc_user": "AUC within each user's rows, averaged.",
    "pr_auc": "Precision averaged over recall; chance is the rate of positives.",
    "log_loss": "Mean negative log-likelihood in nats; lower is better, and it punishes wrong probabilities.",
    "expected_log_loss": "Log loss averaged over the labels that the true probabilities would give; lower is better.",
    "normalised_entropy": "Log loss over that of always saying the average rate; 1 is worthless, lower is better.",
    "ece": "Mean distance between predicted and observed rates over bins; lower is better, 0 is calibrated.",
    "expected_ece": "Mean distance between predicted and true probabilities over bins; lower is better.",
    "predicted_over_observed": "Predicted positives over observed ones; 1 is right in sum.",
    "predicted_over_true": "Predicted positives over those that the true probabilities would give; 1 is right in sum.",
    "ndcg": "Order of the best k rows of a request, the top counted most; 1 is ideal.",
    "recall": "Share of a request's positives among its best k rows.",
    "mrr": "One over the rank of a request's first positive, averaged.",
    "qwk": "Agreement of predicted and true levels, large errors weighed more (quadratic kappa); 1 is perfect.",
    "accuracy": "Share of rows whose most probable class is theirs.",
    "mcc": "Matthews' correlation of what is said and what is: 0 is chance, 1 perfect.",
    "f1": "Harmonic mean of precision and recall at the threshold.",
    "macro_f1": "F1 averaged over classes, rare ones as much as common ones.",
    "mae": "Mean absolute error; lower is better.",
    "mse": "Mean squared error; lower is better.",
    "pearson": "Correlation of predicted and true values.",
    "rmse": "Root of the mean squared error; lower is better.",
    "r2": "Share of the variance that is explained.",
    "spearman": "Correlation of predicted and true ranks.",
}


def meaning_of(key: str) -> str:
    """A metric key in a sentence; empty where it is not known.

    >>> meaning_of("ctcvr/ndcg@10")
    'Order of the best k rows of a request, the top counted most; 1 is ideal.'
    """
    return MEANINGS.get(re.sub(r"(@\d+|\[.*)$", "", key.partition("/")[2]), "")
