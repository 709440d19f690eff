"""What the shoppers got, as the world knows it: the utility of what they bought, and the requests that they gave up.

A purchase's utility is what the world lets shoppers decide by once they look closer: how well the item fits what was
asked, its rating and quality and the shopper's taste, against its price, the budget that is left and an empty shelf
(`outcomes.cart_utility` + `outcomes.purchase_utility`, in logits; 0 is an item of average kind and price that fits
nothing). Clicks and revenue can rise while it falls: a page that sells what is dear.

Legend: n requests, pages of k items; arrays without a comment are (n, k).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace import outcomes as truth
from funneltune.marketplace.outcomes import Floats, Outcome
from funneltune.marketplace.world import Requests, State, World

SESSION_DAYS = 1.0
"""A shopper's requests with less than this between one and the next are one session."""


def utility(
    world: World, state: State, request: Requests, ranking: NDArray[np.int64], prices: NDArray[np.float32]
) -> Floats:
    """What each item of some pages is worth to the shopper who buys it, in logits, in the state that `step` sees."""
    day = int(request.day.min()) if len(request) else state.day
    scene = world._scene(world._until(state, day), request, ranking, prices)
    return truth.cart_utility(scene, world.selection_bias) + truth.purchase_utility(scene)


class Satisfaction(NamedTuple):
    """Of some requests. Shares are of requests or sessions; NaN where nothing was bought."""

    utility: float
    """Mean utility of what was bought."""
    surplus: float
    """The sum of these over all requests, per request."""
    no_click: float
    """Share of requests without a click."""
    no_purchase: float
    """Share of requests without a purchase."""
    abandoned_sessions: float
    """Share of sessions without a purchase."""


def satisfaction(
    bought: NDArray[np.float64], clicked: NDArray[Any], worth: NDArray[Any], request: Requests
) -> Satisfaction:
    """Of what was drawn (0 and 1), or expected (probabilities; clicks on a page taken as independent).

    Args:
        bought: Purchases, or p(click) p(purchase | click).
        clicked: Clicks, or p(click).
        worth: Of `utility`.
        request: Who asked, and when.
    """
    without_click, without_purchase = (
        np.prod(1.0 - np.asarray(p, dtype=np.float64), axis=1) for p in (clicked, bought)
    )
    total, gained = float(bought.sum()), float((bought * worth).sum())
    session = sessions(request)
    left = np.ones(int(session.max(initial=-1)) + 1)
    np.multiply.at(left, session, without_purchase)
    return Satisfaction(
        utility=gained / total if total > 0 else float("nan"),
        surplus=gained / max(len(request), 1),
        no_click=float(without_click.mean()),
        no_purchase=float(without_purchase.mean()),
        abandoned_sessions=float(left.mean()),
    )


def expected(outcome: Outcome, worth: Floats, request: Requests) -> Satisfaction:
    """The truth of some pages, without the luck of a draw."""
    clicked = outcome.p_click.astype(np.float64)
    return satisfaction(clicked * outcome.p_purchase_given_click, clicked, worth, request)


def sessions(request: Requests, gap: float = SESSION_DAYS) -> NDArray[np.int64]:
    """The session of each request, from 0: requests of one shopper with less than `gap` days from one to the next.

    Raises:
        ConfigError: if the gap is not above 0.
    """
    if not gap > 0:
        raise ConfigError(f"gap={gap} must be > 0, the days that end a session.")
    order = np.lexsort((request.day, request.user))
    user, day = request.user[order], request.day[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (user[1:] != user[:-1]) | (np.diff(day) >= gap)
    found = np.empty(len(order), dtype=np.int64)
    found[order] = np.cumsum(begins) - 1
    return found
