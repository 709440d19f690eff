"""What shoppers search for of their own accord, and what each would buy by category: the truth behind `need`.

Legend: n requests, U shoppers, C categories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from funneltune.marketplace.noise import Stream, uniform

if TYPE_CHECKING:
    from funneltune.marketplace.policy import Policy
    from funneltune.marketplace.world import World

Integers = NDArray[np.int64]
FIRST = 2**42
"""Number of the first request that truths are drawn from: none of a log's."""
AT_ONCE = 4096


def loyal(world: World, number: Integers, user: Integers, query: Integers) -> Integers:
    """(n,) queries, of which a share `world.loyalty` is for the shopper's favourite group, by the searches' weights.

    The others are as they were, and so are those of a shopper for whose group there is no search.
    """
    if not world.loyalty:
        return query
    own = uniform(world.seed, Stream.INTENT, number, 1) < world.loyalty
    chance = uniform(world.seed, Stream.QUERY, number, 2)
    favourite, found = world.shoppers.favourite[user], query.copy()
    for group in np.unique(favourite[own]):
        searches = np.flatnonzero(world.searches.group == group)
        if len(searches):
            rows = np.flatnonzero(own & (favourite == group))
            weight = np.cumsum(world.searches.weight[searches])
            place = np.searchsorted(weight, chance[rows] * weight[-1], side="right")
            found[rows] = searches[np.minimum(place, len(searches) - 1)]
    return found


def true_needs(
    world: World, policy: Policy, user: Integers, day: float, category: Integers, categories: int, pages: int = 200
) -> NDArray[np.float64]:
    """(U, C): the shares of the categories in the purchases that a shopper's next request is expected to bring, over
    clicks, carts, purchases and what it may search for; shelves are full and budgets whole.

    Shares of all shoppers together come from U x pages requests. What sets a shopper apart, its expectation over the
    mean shopper's, comes from the same `pages` requests for each, so that chance is not taken for taste.

    Args:
        world: Whose truth is asked for.
        policy: What shows the pages.
        user: (U,).
        day: Of the log.
        category: (items,) a number of the C categories.
        categories: C.
        pages: Requests drawn for each shopper.
    """
    shared = _expected(world, policy, user, np.tile(np.arange(pages), len(user)), day, category, categories)
    apart = _expected(world, policy, user, pages + np.arange(pages * len(user)), day, category, categories)
    mean = shared.mean(axis=0)
    ratio = np.divide(shared, mean, out=np.ones_like(shared), where=mean > 0)
    found = apart.mean(axis=0) * ratio
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _expected(
    world: World,
    policy: Policy,
    user: Integers,
    number: Integers,
    day: float,
    category: Integers,
    categories: int,
) -> NDArray[np.float64]:
    """(U, C): purchases of each shopper's share of the requests with these numbers, which come shopper by shopper."""
    from funneltune.marketplace.policy import searched
    from funneltune.marketplace.world import Requests

    found = np.zeros((len(user), categories))
    whose = np.repeat(np.arange(len(user)), len(number) // len(user))
    for start in range(0, len(whose), AT_ONCE):
        row, numbers = whose[start : start + AT_ONCE], FIRST + number[start : start + AT_ONCE].astype(np.int64)
        days = np.full(len(row), day)
        request = Requests(numbers, user[row], searched(world, numbers, user[row], days), days)
        shown = policy.rank(world, request)
        outcome, _ = world.step(world.initial_state(), request, shown, world.prices(shown, days))
        bought = (outcome.p_click * outcome.p_purchase_given_click).astype(np.float64)
        np.add.at(found, (np.broadcast_to(row[:, None], shown.shape), category[shown]), bought)
    return found
