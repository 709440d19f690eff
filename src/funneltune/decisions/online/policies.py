"""Who decides what is shown while the log grows: the run as it is, bandits on top of it, and two measuring rods.

Legend: n requests, C candidates of each, pages of k places, d features of a candidate.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from funneltune.decisions.online.bayes import BayesianLogistic, Covariance
from funneltune.decisions.online.stream import CLICK, PURCHASE, Arrivals, Floats, Integers, Page, best_places, sigmoid
from funneltune.errors import ConfigError

Exploration = Literal["none", "epsilon", "thompson"]
LOGIT_WEIGHT = 1.0
"""The prior's mean of the weight on the run's own logit: before the first row, the bandit is the run."""


class Policy(Protocol):
    """Chooses pages, and learns from what came of them."""

    def places(self, arrivals: Arrivals, k: int) -> Integers:
        """(n, k): which candidate stands where."""
        ...

    def learn(self, arrivals: Arrivals, page: Page) -> None:
        """Take in a block of pages that this policy showed."""
        ...


class Static:
    """The run as it was trained: by p(click and purchase), for ever."""

    def places(self, arrivals: Arrivals, k: int) -> Integers:
        """The best by the run."""
        return best_places(arrivals.value, k)

    def learn(self, arrivals: Arrivals, page: Page) -> None:
        """Nothing."""


class AtRandom:
    """Any order of the candidates: what choosing is worth at all.

    Args:
        seed: Of the order.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng((seed, 1))

    def places(self, arrivals: Arrivals, k: int) -> Integers:
        """(n, k)."""
        return best_places(self.rng.random(arrivals.items.shape), k)

    def learn(self, arrivals: Arrivals, page: Page) -> None:
        """Nothing."""


class LastLayer:
    """A Bayesian last layer over the run, for clicks and for purchases given a click, that goes on learning.

    Each task's logit is w0 + w1 (the run's logit) + w . z with z the candidate's features; the prior's mean is
    (0, 1, 0, ...): the run itself. Clicks are learnt with the probability that their place was looked at, purchases on
    clicked rows. Pages are ordered by p(click | looked at) p(purchase | click).

    Args:
        width: Features of a candidate, the constant included.
        exploration: `none`: by the posterior's mean (greedy). `epsilon`: each place is given to any candidate with
            chance `epsilon`. `thompson`: by weights drawn from the posterior, anew for each request (Thompson 1933;
            Chapelle & Li 2011).
        spread: The prior's standard deviation of each weight on a (standardised) feature, in logits.
        covariance: `full` or `diagonal`.
        half_life: In requests; None: nothing is forgotten.
        epsilon: The chance.
        seed: Of draws.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self,
        *,
        width: int,
        exploration: Exploration = "thompson",
        spread: float = 0.2,
        covariance: Covariance = "full",
        half_life: float | None = None,
        epsilon: float = 0.1,
        seed: int = 0,
    ) -> None:
        if not spread > 0:
            raise ConfigError(f"spread={spread} must be > 0, the prior's standard deviation in logits.")
        if not 0 <= epsilon <= 1:
            raise ConfigError(f"epsilon={epsilon} must lie in [0, 1], a chance.")
        self.exploration, self.epsilon = exploration, epsilon
        self.rng = np.random.default_rng((seed, 2))
        deviation = np.array([1.0, 0.3, *[spread] * (width - 1)])  # the constant, the logit, the features
        mean = np.array([0.0, LOGIT_WEIGHT, *[0.0] * (width - 1)])
        self.models = {
            task: BayesianLogistic(mean=mean, precision=deviation**-2, covariance=covariance, half_life=half_life)
            for task in (CLICK, PURCHASE)
        }

    def places(self, arrivals: Arrivals, k: int) -> Integers:
        """The best by the mean or by a draw."""
        draws = self.exploration == "thompson"
        value = np.ones(arrivals.items.shape)
        for task, model in self.models.items():
            weights = model.draw(self.rng, len(arrivals)) if draws else np.tile(model.mean, (len(arrivals), 1))
            value = value * sigmoid(np.einsum("ncd,nd->nc", design(arrivals, task), weights))
        if self.exploration != "epsilon":
            return best_places(value, k)
        return self._with_strangers(best_places(value, arrivals.items.shape[1]), k)

    def _with_strangers(self, order: Integers, k: int) -> Integers:
        """Each place of a page swapped, with chance epsilon, for any candidate that does not stand above it."""
        rows, width = order.shape
        for place in range(k):
            other = place + (self.rng.random(rows) * (width - place)).astype(np.int64)
            swapped = np.flatnonzero(self.rng.random(rows) < self.epsilon)
            here, there = order[swapped, place].copy(), other[swapped]
            order[swapped, place] = order[swapped, there]
            order[swapped, there] = here
        return order[:, :k]

    def learn(self, arrivals: Arrivals, page: Page) -> None:
        """Forget as much as a block is worth, then take it in."""
        clicked = page.outcome.click.astype(bool)
        for task, model in self.models.items():
            x = np.take_along_axis(design(arrivals, task), page.places[..., None], axis=1)
            model.forget(len(arrivals))
            if task == CLICK:
                seen = np.broadcast_to(page.seen, clicked.shape)
                model.update(x.reshape(-1, x.shape[-1]), clicked.ravel(), seen.ravel())
            else:
                model.update(x[clicked], page.outcome.purchase[clicked])


def design(arrivals: Arrivals, task: str) -> Floats:
    """(n, C, 1 + d): the constant, the run's logit, the other features."""
    own = arrivals.logits[task][..., None]
    return np.concatenate([arrivals.features[..., :1], own, arrivals.features[..., 1:]], axis=-1)
