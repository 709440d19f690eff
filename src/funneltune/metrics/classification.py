"""Precision, recall, F1, accuracy, Matthews' correlation and support at a chosen threshold."""

from __future__ import annotations

from numpy.typing import ArrayLike

from funneltune.errors import DataError
from funneltune.metrics.formulas import decisions, value_of
from funneltune.metrics.ties import checked_labels, checked_probabilities, same_length


def classification_report(label: ArrayLike, p: ArrayLike, threshold: float = 0.5) -> dict[str, float]:
    """Precision, recall and F1 of the positives, accuracy, Matthews' correlation, and the counts behind them; a row is
    positive at p >= threshold.

    Precision is NaN where nothing is predicted positive, recall where nothing is positive; the correlation is 0 where
    every row is said, or is, the same (Matthews 1975; as scikit-learn has it).
    """
    y, q = checked_labels(label), checked_probabilities(p)
    rows = same_length(label=y, p=q)
    if not 0.0 <= threshold <= 1.0:
        raise DataError(f"metrics.threshold={threshold} must lie in [0, 1]: it is held against probabilities.")
    said = q >= threshold
    hits, named, support = float(y[said].sum()), float(said.sum()), float(y.sum())
    undefined = float("nan")
    return {
        "precision": hits / named if named else undefined,
        "recall": hits / support if support else undefined,
        "f1": 2 * hits / (named + support) if support else undefined,
        "accuracy": (rows - named - support + 2 * hits) / rows if rows else undefined,
        "mcc": value_of("mcc", decisions(y, q, threshold)) if rows else undefined,
        "support": support,
        "predicted_positives": named,
        "rows": float(rows),
        "threshold": float(threshold),
    }
