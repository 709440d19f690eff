"""What arrives: requests of the marketplace with the candidates that every policy chooses from, and what a page brings.

Legend: n requests, C candidates of each, pages of k places, d features of a candidate, S seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace import Outcome, Requests, State, World
from funneltune.marketplace.satisfaction import utility

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
CLICK, PURCHASE = "click", "purchase"
"""The two events that a policy learns from: a click on what was looked at, and a purchase given a click."""


@dataclass(frozen=True)
class Arrivals:
    """Requests as a policy sees them: nothing of the truth."""

    request: Requests
    items: Integers
    """(n, C) item numbers, none twice in a row."""
    prices: NDArray[np.float32]
    """(n, C)."""
    logits: Mapping[str, Floats]
    """Of `click` and `purchase`: (n, C), what the run says before anything is learnt online."""
    features: Floats
    """(n, C, d): 1, then what corrections of these logits may depend on."""

    def __len__(self) -> int:
        """N."""
        return len(self.request)

    def rows(self, some: Integers | slice) -> Arrivals:
        """Some of the requests."""
        request = Requests(**{field.name: getattr(self.request, field.name)[some] for field in fields(Requests)})
        return Arrivals(
            request,
            self.items[some],
            self.prices[some],
            {name: values[some] for name, values in self.logits.items()},
            self.features[some],
        )

    def blocks(self, size: int) -> Iterator[tuple[slice, Arrivals]]:
        """`size` requests at a time, in their order."""
        for start in range(0, len(self), size):
            some = slice(start, min(start + size, len(self)))
            yield some, self.rows(some)

    @property
    def value(self) -> Floats:
        """(n, C): p(click) p(purchase | click), as the run says."""
        return sigmoid(self.logits[CLICK]) * sigmoid(self.logits[PURCHASE])


@dataclass(frozen=True)
class Page:
    """What a policy showed for n requests, and what came of it."""

    places: Integers
    """(n, k): which candidate stands where."""
    outcome: Outcome
    seen: Floats
    """(k,) or (n, k): the probability that a place is looked at, as the policy is told (the log's propensity)."""


@dataclass(frozen=True)
class Gained:
    """Per request, in expectation (the truth, not what was drawn)."""

    purchases: Floats
    clicks: Floats
    revenue: Floats
    satisfaction: Floats
    """Utility of what was bought, in logits (`marketplace.satisfaction`)."""
    empty: Floats
    """Probability that the request ends without a click."""


def sigmoid(logit: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30))), dtype=np.float64)


def logit(p: Floats) -> Floats:
    """log(p / (1 - p)), p cut to [1e-6, 1 - 1e-6]."""
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p) - np.log1p(-p))


def best_places(scores: Floats, k: int) -> Integers:
    """(n, k): the candidates with the highest scores, highest first, equal ones in their order."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


class Market:
    """The world as one policy meets it: shelves and budgets follow what this policy sold.

    Args:
        world: The truth.
        k: Places of a page.

    Raises:
        ConfigError: if there is no place.
    """

    def __init__(self, world: World, k: int) -> None:
        if k < 1:
            raise ConfigError(f"page={k} must be >= 1, the places of a page.")
        self.world, self.k = world, k
        self.state: State = world.initial_state()

    def truth(self, arrivals: Arrivals) -> Floats:
        """(n, C): p(click | looked at) p(purchase | click) of all candidates, in the state that is."""
        found, _ = self.world.step(self.state, arrivals.request, arrivals.items, arrivals.prices)
        return np.asarray(
            found.p_click.astype(np.float64) / np.maximum(found.p_examine, 1e-12) * found.p_purchase_given_click
        )

    def show(self, arrivals: Arrivals, places: Integers) -> tuple[Outcome, Gained]:
        """Put the pages before the shoppers."""
        ranking = np.take_along_axis(arrivals.items, places, axis=1)
        prices = np.take_along_axis(arrivals.prices, places, axis=1)
        worth = utility(self.world, self.state, arrivals.request, ranking, prices)
        outcome, self.state = self.world.step(self.state, arrivals.request, ranking, prices)
        bought = outcome.p_click.astype(np.float64) * outcome.p_purchase_given_click
        return outcome, Gained(
            purchases=bought.sum(axis=1),
            clicks=outcome.p_click.sum(axis=1, dtype=np.float64),
            revenue=(bought * prices).sum(axis=1),
            satisfaction=(bought * worth).sum(axis=1),
            empty=np.prod(1.0 - outcome.p_click.astype(np.float64), axis=1),
        )
