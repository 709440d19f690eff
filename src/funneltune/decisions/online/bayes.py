"""Logistic regression that knows how sure it is, learns block by block, and forgets at a chosen pace.

Legend: m rows, d features.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError

Floats = NDArray[np.float64]
Covariance = Literal["full", "diagonal"]
ENOUGH = 1e-8
"""Largest change of a weight at which the mode is found."""
MOST_STEPS = 50
HALVINGS = 30


class BayesianLogistic:
    """A Gaussian N(mean, precision^-1) over the weights of p(y = 1) = seen x sigmoid(x . w).

    The Laplace approximation, block after block (Chapelle & Li 2011, algorithm 3; here with a full precision matrix
    too): the mode of the last posterior times the block's likelihood is the new mean, and the precision grows by the
    Fisher information at it. `seen` is the probability that the row was looked at (examination, Richardson et al.
    2007): a click that is missing at a low place says little. With seen = 1 it is plain logistic regression.

    Args:
        mean: (d,) of the prior.
        precision: (d,) of the prior, diagonal.
        covariance: Whether weights may be correlated in the posterior.
        half_life: Blocks' worth of rows after which what was learnt counts half; None: for ever. What is forgotten
            gives way to the prior: the posterior is p^g x prior^(1 - g).

    Raises:
        ConfigError: if a precision or the half-life is not above 0, or the covariance is neither.
    """

    def __init__(
        self, *, mean: Floats, precision: Floats, covariance: Covariance = "full", half_life: float | None = None
    ) -> None:
        if covariance not in get_args(Covariance):
            raise ConfigError(f"covariance={covariance!r} must be one of {', '.join(get_args(Covariance))}.")
        if not (np.asarray(precision) > 0).all():
            raise ConfigError(f"precision={float(np.min(precision))} must be > 0: a prior must say something.")
        if half_life is not None and not half_life > 0:
            raise ConfigError(f"half_life={half_life} must be > 0 requests, or none: nothing is forgotten.")
        self.covariance, self.half_life = covariance, half_life
        self.prior_mean = np.array(mean, dtype=np.float64)
        self.prior_precision = np.diag(np.array(precision, dtype=np.float64))
        self.mean, self.precision = self.prior_mean.copy(), self.prior_precision.copy()

    def forget(self, requests: float) -> None:
        """Let what was learnt fade, by as many requests as went by."""
        if self.half_life is None:
            return
        kept = 0.5 ** (requests / self.half_life)
        information = kept * self.precision @ self.mean + (1 - kept) * self.prior_precision @ self.prior_mean
        self.precision = kept * self.precision + (1 - kept) * self.prior_precision
        self.mean = np.linalg.solve(self.precision, information)

    def update(self, x: Floats, y: NDArray[np.generic], seen: Floats | float = 1.0) -> None:
        """Learn m rows: (m, d) features, (m,) 0 or 1, (m,) or one probability that the row was looked at."""
        x, hit = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if not len(x):
            return
        seen = np.clip(np.broadcast_to(np.asarray(seen, dtype=np.float64), hit.shape), 1e-6, 1.0)
        weights, value = self.mean, self._log_posterior(self.mean, x, hit, seen)
        for _ in range(MOST_STEPS):
            slope, information = _derivatives(x @ weights, hit, seen)
            gradient = x.T @ slope - self.precision @ (weights - self.mean)
            step = np.linalg.solve(self.precision + (x.T * information) @ x, gradient)
            for _ in range(HALVINGS):
                found = self._log_posterior(weights + step, x, hit, seen)
                if found >= value:
                    break
                step = step / 2
            else:
                break  # no way up: as good as floating point gets
            weights, value = weights + step, found
            if np.abs(step).max() < ENOUGH:
                break
        _, information = _derivatives(x @ weights, hit, seen)
        added = (x.T * information) @ x
        if self.covariance == "diagonal":
            added = np.diag(np.diag(added))
        self.mean, self.precision = weights, self.precision + added

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """(n, d) weights from the posterior."""
        factor = np.linalg.cholesky(self.precision)
        return np.asarray(
            self.mean + np.linalg.solve(factor.T, rng.standard_normal((len(self.mean), n))).T, dtype=np.float64
        )

    def _log_posterior(self, weights: Floats, x: Floats, y: Floats, seen: Floats) -> float:
        away, logit = weights - self.mean, x @ weights
        log_p = np.log(seen) - np.logaddexp(0.0, -logit)
        log_not = np.log1p(-np.minimum(np.exp(log_p), 1 - 1e-15))
        return float((np.where(y > 0, log_p, log_not)).sum() - 0.5 * away @ self.precision @ away)


def _derivatives(logit: Floats, y: Floats, seen: Floats) -> tuple[Floats, Floats]:
    """Of each row's log-likelihood by its logit: the slope, and the Fisher information.

    With s the sigmoid and q = seen s: slope = (y - q)(1 - s) / (1 - q), information = seen s (1 - s)^2 / (1 - q).
    """
    s = 1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30)))
    share = (1.0 - s) / (1.0 - seen * s)
    return (y - seen * s) * share, seen * s * (1.0 - s) * share
