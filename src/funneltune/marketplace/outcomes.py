"""What happens to an impression: the truth behind clicks, carts and purchases.

Legend: n requests, pages of k items; arrays without a comment are (n, k).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.marketplace.catalogue import Catalogue
from funneltune.marketplace.searches import Searches
from funneltune.marketplace.shoppers import Shoppers
from funneltune.marketplace.vocabulary import Vocabulary

Floats = NDArray[np.float32]

# Weights of a click's utility: what the page shows of the item, and who looks at it.
MATCH, ATTRIBUTE, TASTE, PRICE, RATING, SEASON, MOOD, PRIVATE = 5.2, 1.1, 0.3, 0.2, 0.35, 0.3, 0.15, 0.3
# Of a cart and a purchase, given a click: what the product page tells, and what it costs.
CART_MATCH, CART_ATTRIBUTE, CART_PRICE, CART_RATING, CART_TASTE = 2.0, 0.7, 0.45, 0.35, 0.2
BUY_PRICE, BUY_BUDGET, BUY_QUALITY = 0.4, 0.8, 0.3
DELAY_PRICE = 0.6
OUT_OF_STOCK = -4.0


@dataclass(frozen=True)
class Outcome:
    """Per impression: the true probabilities, and what was drawn from them."""

    p_examine: Floats
    """That the position is looked at; in the cascade, given what stands above it."""
    p_click: Floats
    p_cart_given_click: Floats
    p_purchase_given_cart: Floats
    p_purchase_given_click: Floats
    click: NDArray[np.int8]
    cart: NDArray[np.int8]
    purchase: NDArray[np.int8]
    delay: Floats | None = None
    """Days from the impression to its purchase, 0 where there is none; None: purchases come at once."""


@dataclass(frozen=True)
class Scene:
    """All that the truth of n pages depends on, gathered from the world's tables."""

    match: Floats
    attributes_shown: Floats
    attributes_true: Floats
    taste: Floats
    price: Floats  # log price against the type's median, in standard deviations, times the shopper's sensitivity
    rating: Floats
    quality: Floats
    season: Floats
    mood: Floats
    private: Floats  # a need that no column tells: the unobserved cause that clicks and purchases share
    over_budget: Floats  # 0 to 1
    sold_out: NDArray[np.bool_]
    demand: Floats | float = 0.0  # of the week: `Pricing.demand`


def click_utility(scene: Scene) -> Floats:
    """The utility of looking closer, without its intercept."""
    return np.asarray(
        MATCH * scene.match
        + ATTRIBUTE * scene.attributes_shown * scene.match
        + TASTE * scene.taste
        - PRICE * scene.price
        + RATING * scene.rating
        + SEASON * scene.season
        + MOOD * scene.mood
        + PRIVATE * scene.private
        + scene.demand,
        dtype=np.float32,
    )


def cart_utility(scene: Scene, selection_bias: float) -> Floats:
    """The utility of taking it, given a click. `selection_bias` weighs the private need that clickers have more of."""
    return np.asarray(
        CART_MATCH * scene.match
        + CART_ATTRIBUTE * scene.attributes_true
        - CART_PRICE * scene.price
        + CART_RATING * scene.rating
        + CART_TASTE * scene.taste
        + selection_bias * scene.private
        + OUT_OF_STOCK * scene.sold_out
        + scene.demand,
        dtype=np.float32,
    )


def purchase_utility(scene: Scene) -> Floats:
    """The utility of paying, given a cart."""
    return np.asarray(
        BUY_QUALITY * scene.quality - BUY_PRICE * scene.price - BUY_BUDGET * scene.over_budget, dtype=np.float32
    )


def purchase_delay(scene: Scene, mean: float, window: float, u: NDArray[np.float64]) -> Floats:
    """Days until the payment: exponential, cut off at `window`. What is dear to a shopper is slept over longer: the
    mean before the cut is `mean` times exp(0.6 price), so that late purchases are not like early ones.
    """
    of_row = mean * np.exp(DELAY_PRICE * np.clip(scene.price.astype(np.float64), -2, 2))
    return np.asarray(-of_row * np.log1p(u * np.expm1(-window / of_row)), dtype=np.float32)


def examination(attractive: Floats, model: str, decay: float) -> Floats:
    """p(a position is looked at).

    `position`: rank to the power of -decay (position-based model, Richardson et al. 2007). `cascade`: one looks from
    the top down until something attracts (Craswell et al. 2008).
    """
    n, page = attractive.shape
    if model == "position":
        by_rank = np.arange(1, page + 1, dtype=np.float32) ** np.float32(-decay)
        return np.broadcast_to(by_rank, (n, page)).astype(np.float32)
    passed = np.cumprod(1.0 - attractive, axis=1)
    return np.concatenate([np.ones((n, 1), np.float32), passed[:, :-1]], axis=1).astype(np.float32)


def sigmoid(utility: Floats) -> Floats:
    """1 / (1 + exp(-u)), within float32."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(utility, -30, 30))), dtype=np.float32)


def solve_intercept(rate_at: object, wanted: float) -> float:
    """The intercept at which an increasing rate reaches `wanted`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(50):
        middle = (low + high) / 2
        if rate_at(middle) < wanted:  # type: ignore[operator]
            low = middle
        else:
            high = middle
    return (low + high) / 2


def gather(
    vocabulary: Vocabulary,
    catalogue: Catalogue,
    searches: Searches,
    shoppers: Shoppers,
    *,
    user: NDArray[np.int64],
    query: NDArray[np.int64],
    day: NDArray[np.float64],
    ranking: NDArray[np.int64],
    prices: Floats,
    taste: Floats,
    mood: Floats,
    private: Floats,
    spent: Floats,
    stock: NDArray[np.int64],
) -> Scene:
    """Look up everything that the truth of these pages depends on. `taste` is (n, 8), `mood` (n,)."""
    kind = catalogue.type[ranking]
    asked = searches.asked[query]
    shown, true = catalogue.shown[ranking], catalogue.slots[ranking]
    likeness = vocabulary.likeness
    fit_shown = np.zeros(ranking.shape, np.float32)
    fit_true = np.zeros(ranking.shape, np.float32)
    for column in range(asked.shape[1]):
        row = asked[:, column][:, None, None]
        fit_shown += likeness[row, shown].sum(-1)
        fit_true += likeness[row, true].sum(-1)
    list_price = catalogue.price[ranking]
    relative = catalogue.relative_price[ranking] + np.log(prices / list_price) / np.float32(0.45)
    left = np.maximum(shoppers.budget[user] - spent[user], 0.0)[:, None]
    return Scene(
        match=vocabulary.match[searches.target[query][:, None], kind],
        attributes_shown=np.clip(fit_shown, -1.5, 2.0),
        attributes_true=np.clip(fit_true, -1.5, 2.0),
        taste=np.einsum("nkd,nd->nk", catalogue.tastes[ranking], taste),
        price=(relative * shoppers.sensitivity[user][:, None]).astype(np.float32),
        rating=((catalogue.rating[ranking] - 4.1) / 0.4).astype(np.float32),
        quality=catalogue.quality[ranking],
        season=season(vocabulary, kind, day),
        mood=np.broadcast_to(mood[:, None], ranking.shape),
        private=private,
        over_budget=(prices / (left + prices)).astype(np.float32),
        sold_out=stock[ranking] <= 0,
    )


def season(vocabulary: Vocabulary, kind: NDArray[Any], day: NDArray[np.float64]) -> Floats:
    """From -1 (out of season) to 1 (its peak), of product types; 0 for those that have none."""
    peak = vocabulary.season[kind]
    distance = np.abs((day[:, None] - peak + 182.5) % 365 - 182.5)
    return np.where(np.isnan(peak), 0.0, np.cos(np.pi * np.minimum(distance, 90) / 90)).astype(np.float32)
