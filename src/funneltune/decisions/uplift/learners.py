"""Learners of a person's uplift from randomised arms, by econml.

T: a model of the outcome in each arm, and their difference. X: each arm's imputed effects, modelled and mixed
(Künzel et al. 2019). DR: doubly robust effects from cross-fitted outcomes and the arms' shares, modelled (Kennedy
2020). As arms are drawn at random, propensities are the arms' shares and are not estimated from features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.metrics.ties import Floats

MISSING = "uplift needs a package that is not installed: pip install 'funneltune[causal]'."
WIDTH = 24
"""Principal components of what the run makes of a person."""
FOLDS = 5


class Reduced:
    """Vectors as their standardised principal components, fitted on training rows.

    Args:
        vectors: (n, width) of the training rows.
        seed: Of the solver.

    Raises:
        ConfigError: if no column of them varies: the run reads nothing of a person.
    """

    def __init__(self, vectors: NDArray[np.float32], seed: int) -> None:
        from sklearn.decomposition import PCA

        spread = vectors.std(axis=0)
        self.kept = spread > 1e-6
        if not self.kept.any():
            raise ConfigError("the run reads nothing that tells people apart; train one that reads features or texts.")
        self.mean, self.spread = vectors[:, self.kept].mean(axis=0), spread[self.kept]
        scaled = (vectors[:, self.kept] - self.mean) / self.spread
        width = min(WIDTH, int(self.kept.sum()), len(vectors) - 1)
        self.components = PCA(width, whiten=True, svd_solver="full" if width == scaled.shape[1] else "randomized")
        self.components.set_params(random_state=seed).fit(scaled)

    def __call__(self, vectors: NDArray[np.float32]) -> Floats:
        """(n, components)."""
        return np.asarray(
            self.components.transform((vectors[:, self.kept] - self.mean) / self.spread), dtype=np.float64
        )


def base_model(base: str, seed: int) -> Any:
    """A regressor: ridge whose penalty is chosen by leaving one out, or small boosted trees."""
    if base == "linear":
        from sklearn.linear_model import RidgeCV

        return RidgeCV(alphas=np.logspace(0, 5, 11))
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=50, l2_regularization=1.0, random_state=seed
    )


def fitted(name: str, outcome: Floats, treated: NDArray[np.int64], x: Floats, base: str, seed: int) -> Any:
    """A learner of econml on training rows; `effect(x)` is the uplift it predicts.

    Raises:
        ConfigError: if econml is not installed.
    """
    try:
        from econml.dr import DRLearner
        from econml.metalearners import TLearner, XLearner
    except ImportError:
        raise ConfigError(MISSING) from None
    from sklearn.dummy import DummyClassifier

    def model() -> Any:
        return base_model(base, seed)

    shares = DummyClassifier(strategy="prior")
    if name == "t":
        learner = TLearner(models=model())
    elif name == "x":
        learner = XLearner(models=model(), propensity_model=shares)
    else:
        learner = DRLearner(
            model_propensity=shares,
            model_regression=model(),
            model_final=model(),
            cv=FOLDS,
            random_state=seed,
        )
    return learner.fit(outcome, treated, X=x)
