"""Demand at prices that were never asked, as a run predicts it, and what follows from it.

Legend: n impressions of an item, G prices, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.pricing.support import NONE, LoggedPrices, Support
from funneltune.decisions.requests import Request
from funneltune.decisions.scorer import Scorer
from funneltune.marketplace.elasticities import TrueDemand

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FEWEST = 30
"""Impressions from which on no stand-ins are sought."""
PER = 1000
"""Impressions that money and purchases are told for."""


@dataclass(frozen=True)
class Curve:
    """What an item's impressions would bring at each price, all else as it was."""

    item: int
    key: str
    now: float
    """The price that the log held last."""
    prices: Floats
    """(G,)."""
    click: Floats
    """(n, G) p(click)."""
    purchase: Floats
    """(n, G) p(click and purchase)."""
    user: Integers
    """(n,) the shopper: the cluster of the bootstrap."""
    users: list[str]
    """(n,) the shoppers' identifiers."""
    place: Integers
    """(n,) where on the page it stands."""
    stand_in: NDArray[np.bool_]
    """(n,) whether the page showed another item of its like, which gave way."""
    support: Support
    truth: TrueDemand | None = None
    """The same impressions on the marketplace, where the log is its own."""

    @property
    def x(self) -> Floats:
        """(G,) log of each price against the price now."""
        return np.asarray(np.log(self.prices / self.now))

    @property
    def held(self) -> NDArray[np.bool_]:
        """(G,) whether the log has held the price, for the item or its like."""
        return np.asarray(self.support.level != NONE)

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """(G,) the prices that elasticities are fitted to: those held, or all where fewer than three are."""
        return self.held if self.held.sum() > 2 else np.ones(len(self.prices), bool)

    def turned(self, by_click: float, by_purchase: float) -> Curve:
        """The same with other elasticities: clicks and purchases times (price / price now) ** by."""
        ratio = self.prices / self.now
        click = np.minimum(self.click * ratio**by_click, 1.0)
        return replace(self, click=click, purchase=np.minimum(self.purchase * ratio**by_purchase, click))


@dataclass(frozen=True)
class Place:
    """A place of a page."""

    request: Request
    number: int
    stand_in: bool


def sampled(item: int, requests: Sequence[Request], logged: LoggedPrices, most: int) -> list[Place]:
    """Impressions of an item, the split's last ones at most; fewer than `FEWEST`: filled up with pages that showed
    another of its like, in whose place it is then put.
    """
    own = [Place(one, int(np.flatnonzero(one.items == item)[0]), False) for one in requests if item in _items(one)]
    if len(own) >= min(FEWEST, most):
        return own[-most:]
    shown = {place.request.key for place in own}
    found = []
    for one in requests:
        items = _items(one)
        alike = np.ones(len(items), bool) if logged.like is None else logged.like[items] == logged.like[item]
        if one.key not in shown and alike.any():
            found.append(Place(one, int(np.flatnonzero(alike)[0]), True))
    return [*own, *found[-(min(FEWEST, most) - len(own)) :]]


def predicted(scorer: Scorer, item: int, places: Sequence[Place], now: float, ratios: Floats) -> tuple[Floats, Floats]:
    """(n, G) p(click), and p(click and purchase), at each price."""
    asked = [replace(one.request.asked, columns=_columns(one)) for one in places]
    new = [{"price": float(price)} for price in now * ratios]
    said = scorer.score_new(asked, new, like=item)
    first, last = scorer.rates[0], scorer.rates[-1]
    return np.stack([of[first] for of in said]), np.stack([of[last] for of in said])


def resampled(user: Integers, draws: int, seed: int) -> Floats:
    """(B, n) how often each impression is drawn, whole shoppers at a time."""
    _, shopper = np.unique(user, return_inverse=True)
    n = int(shopper.max()) + 1
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    return counts[:, shopper].astype(np.float64)


def means(values: Floats, weights: Floats) -> Floats:
    """(B, G) means of (n, G) values over draws; a draw of nobody, which n shoppers cannot have, would be NaN."""
    return np.asarray(weights @ values / weights.sum(axis=1, keepdims=True))


def elasticity(x: Floats, demand: Floats) -> Floats:
    """Own-price elasticity at the price now, d log q / d log p, of (..., G) demands over log price ratios x.

    The slope at x = 0 of a parabola through log q, least squares; through two prices a line.
    """
    powers = np.vander(x, min(3, len(x)), increasing=True)
    slopes = np.linalg.pinv(powers)[1]
    return np.asarray(np.log(np.maximum(demand, 1e-300)) @ slopes)


def arc_elasticity(prices: Floats, demand: Floats) -> Floats:
    """From the first to the last price: (dq / mean q) / (dp / mean p), the midpoint formula (Allen 1934)."""
    q0, q1 = demand[..., 0], demand[..., -1]
    p0, p1 = prices[0], prices[-1]
    return np.asarray((q1 - q0) / (q1 + q0) / ((p1 - p0) / (p1 + p0)))


def ends(draws: Floats) -> tuple[float, float]:
    """95% of them."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _items(request: Request) -> Integers:
    assert request.items is not None  # of a logged request
    return request.items


def _columns(place: Place) -> dict[str, object]:
    """What the log tells of the row, its price apart."""
    size = len(_items(place.request))
    told = {name: values for name, values in place.request.asked.columns.items() if name not in ("price", "item.price")}
    return {
        name: values[place.number] if np.ndim(values) == 1 and len(values) == size else values
        for name, values in told.items()
    }
