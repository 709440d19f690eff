"""The truth about prices: what any price would have sold on the marketplace, and how elastic demand really is.

Legend: n requests, pages of k items, G prices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.marketplace.worlds import WorldRequests

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
STEP = 0.01
"""Of the log price, by which a derivative is taken."""


class TrueDemand(NamedTuple):
    """Expected outcomes of one impression per request, (n, G)."""

    click: Floats
    purchase: Floats


def true_demand(requests: WorldRequests, item: int, place: Integers, prices: Floats) -> TrueDemand:
    """What one item would have brought at each price, on its place of each page, all else as it was.

    Args:
        requests: Those of its pages.
        item: Its number.
        place: (n,) where it stands; what stood there gives way.
        prices: (G,).
    """
    at = np.arange(len(requests))
    pages, asked = requests.shown.copy(), requests.prices.copy()
    pages[at, place] = item
    click, purchase = (np.empty((len(requests), len(prices))) for _ in range(2))
    for number, price in enumerate(prices):
        asked[at, place] = price
        found = requests.outcomes(pages, asked)
        click[:, number] = found.p_click[at, place]
        purchase[:, number] = (found.p_click * found.p_purchase_given_click)[at, place]
    return TrueDemand(click, purchase)


class TrueElasticity(NamedTuple):
    """Percent that expected clicks and purchases change by when every price rises by one percent, own effects only."""

    click: float
    purchase: float


def true_elasticity(requests: WorldRequests, step: float = STEP) -> TrueElasticity:
    """Own-price elasticity of all that was shown, at the prices that were asked:

        sum of dq / dlog p over impressions / sum of q,   q = p(looked at) p(click | looked at) p(purchase | click)

    by a central difference. p(looked at) stays as it was, so that no item's price moves another item's demand.
    """
    looked = requests.outcomes(requests.shown, requests.prices).p_examine.astype(np.float64)
    totals = []
    for sign in (1, -1):
        prices = (requests.prices * np.exp(sign * step)).astype(np.float32)
        found = requests.outcomes(requests.shown, prices)
        click = looked * found.p_click / np.maximum(found.p_examine, 1e-12)
        totals.append((click.sum(), (click * found.p_purchase_given_click).sum()))
    (click_up, bought_up), (click_down, bought_down) = totals
    return TrueElasticity(
        *(float(np.log(up / down) / (2 * step)) for up, down in ((click_up, click_down), (bought_up, bought_down)))
    )
