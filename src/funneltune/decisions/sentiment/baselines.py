"""What words alone say: TF-IDF and logistic regression on the run's training reviews.

Both read the words that the run reads, the item's included. The rating is predicted twice: as five classes, and as an
order, by a regression of rating > k for each k (Frank and Hall 2001). Strengths are chosen on the validation reviews.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.sentiment.reviews import Said
from funneltune.errors import ConfigError
from funneltune.metrics import log_loss
from funneltune.metrics.levels import row_level_losses
from funneltune.metrics.ties import Floats

STRENGTHS = (1.0, 4.0, 16.0)
"""C of the regression; large: little penalty."""
CLASSES, ORDER = "TF-IDF + LR", "TF-IDF + ordinal LR"


@dataclass(frozen=True)
class Part:
    """Reviews of a split with their labels."""

    texts: Sequence[str]
    rating: NDArray[np.int64]
    recommended: NDArray[np.int64]


def by_words(train: Part, validation: Part, texts: Sequence[str], levels: int) -> dict[str, Said]:
    """What both baselines say of some reviews.

    Raises:
        ConfigError: if scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise ConfigError(
            "baseline=tfidf needs a package that is not installed: pip install 'funneltune[causal]'."
        ) from None
    vectors = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=50_000)
    x = vectors.fit_transform(train.texts)
    check, ask = vectors.transform(validation.texts), vectors.transform(texts)
    liked = _binary(x, train.recommended, check, validation.recommended, ask)
    above = np.stack(
        [_binary(x, train.rating > k, check, validation.rating > k, ask) for k in range(levels - 1)], axis=1
    )
    above = np.minimum.accumulate(above, axis=1)  # four regressions need not agree that > 3 is rarer than > 2
    ordered = -np.diff(np.concatenate([np.ones((len(above), 1)), above, np.zeros((len(above), 1))], axis=1), axis=1)
    classes = _classes(x, train.rating, check, validation.rating, ask, levels)
    return {CLASSES: Said(classes, liked), ORDER: Said(ordered, liked)}


def _fitted(x: Any, label: NDArray[Any], strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(x, label)


def _binary(x: Any, label: NDArray[Any], check: Any, checked: NDArray[Any], ask: Any) -> Floats:
    if len(np.unique(label)) < 2:
        return np.full(ask.shape[0], float(np.mean(label)))
    models = [_fitted(x, label.astype(int), strength) for strength in STRENGTHS]
    best = min(models, key=lambda model: log_loss(checked.astype(int), model.predict_proba(check)[:, 1]))
    return np.asarray(best.predict_proba(ask)[:, 1], dtype=np.float64)


def _classes(x: Any, label: NDArray[Any], check: Any, checked: NDArray[Any], ask: Any, levels: int) -> Floats:
    def said(model: Any, rows: Any) -> Floats:
        p = np.full((rows.shape[0], levels), 1e-9)
        p[:, model.classes_] = model.predict_proba(rows)
        return np.asarray(p / p.sum(axis=1, keepdims=True), dtype=np.float64)

    models = [_fitted(x, label, strength) for strength in STRENGTHS]
    best = min(models, key=lambda model: float(row_level_losses(checked, said(model, check)).mean()))
    return said(best, ask)
