"""A log: a world, a logging policy, and a stream of impressions with their true probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace.noise import Stream, uniform
from funneltune.marketplace.outcomes import Outcome
from funneltune.marketplace.policy import Policy, arrivals
from funneltune.marketplace.world import Requests, State, World

EPOCH = 1_735_689_600
"""Unix seconds of the log's first day, 1 January 2025."""
PAGES = 4096
"""Pages of a step at most: bounds memory, whatever the log's size."""


@dataclass(frozen=True)
class Step:
    """Requests of a day, or of a part of a busy one: the state in which they came, their pages, what came of them."""

    state: State
    request: Requests
    ranking: NDArray[np.int64]
    """(n, page) items shown."""
    prices: NDArray[np.float32]
    """(n, page)."""
    outcome: Outcome


def walk(world: World, policy: Policy, impressions: int) -> Iterator[Step]:
    """A log step by step, in time order. The last page is complete, so `impressions` is rounded up.

    Raises:
        ConfigError: on a log without a request.
    """
    if not isinstance(impressions, int) or impressions < 1:
        raise ConfigError(f"data.source.impressions={impressions!r} must be a whole number >= 1.")
    pages = -(-impressions // world.page)
    state = world.initial_state()
    first_of_day = np.ceil(np.arange(world.days + 1) * pages / world.days).astype(np.int64)
    for start, end in pairwise(first_of_day):
        for begin in range(int(start), int(end), PAGES):
            n = min(PAGES, int(end) - begin)
            # Request i of all comes somewhere in the i-th of equally long spans: sorted, and the same for any chunk.
            share = _times(world, begin, n, pages)
            request = arrivals(world, n, first=begin, seconds=share)
            ranking = policy.rank(world, request)
            prices = world.prices(ranking, request.day)
            outcome, after = world.step(state, request, ranking, prices)
            yield Step(state, request, ranking, prices, outcome)
            state = after


def simulate(world: World, policy: Policy, impressions: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Whole requests in time order, as columns, step by step (`walk`).

    Every impression carries its truth: `oracle_p_click`, `oracle_p_purchase_given_click`, ..., and `propensity`, the
    probability that its position was looked at; where purchases take time, `delay_purchase` has their days.

    Raises:
        ConfigError: on a log without a request.
    """
    for step in walk(world, policy, impressions):
        request, outcome = step.request, step.outcome
        rows = step.ranking.shape
        late = {} if outcome.delay is None else {"delay_purchase": outcome.delay.ravel()}
        yield {
            "request": np.repeat(request.number, world.page),
            "user": np.repeat(request.user, world.page).astype(np.int32),
            "query": np.repeat(request.query, world.page).astype(np.int32),
            "item": step.ranking.ravel().astype(np.int32),
            "position": np.broadcast_to(np.arange(world.page, dtype=np.int16), rows).ravel(),
            "time": np.repeat(EPOCH + np.floor(request.day * 86_400), world.page),
            "price": step.prices.ravel(),
            "click": outcome.click.ravel(),
            "cart": outcome.cart.ravel(),
            "purchase": outcome.purchase.ravel(),
            "propensity": outcome.p_examine.ravel(),
            "oracle_p_click": outcome.p_click.ravel(),
            "oracle_p_cart_given_click": outcome.p_cart_given_click.ravel(),
            "oracle_p_purchase_given_cart": outcome.p_purchase_given_cart.ravel(),
            "oracle_p_purchase_given_click": outcome.p_purchase_given_click.ravel(),
            **late,
        }


def _times(world: World, begin: int, n: int, pages: int) -> NDArray[np.float64]:
    number = begin + np.arange(n, dtype=np.int64)
    return np.asarray((number + uniform(world.seed, Stream.TIME, number)) / pages)
