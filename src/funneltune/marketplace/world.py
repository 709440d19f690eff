"""The embedded marketplace as an environment: catalogue, shoppers, searches, and `step`, whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace import outcomes as truth
from funneltune.marketplace.catalogue import build_catalogue
from funneltune.marketplace.noise import Stream, normal, uniform
from funneltune.marketplace.outcomes import Outcome, Scene
from funneltune.marketplace.pricing import Pricing
from funneltune.marketplace.searches import build_searches
from funneltune.marketplace.shoppers import AGE_BANDS, SEGMENTS, build_shoppers
from funneltune.marketplace.vocabulary import load_vocabulary

ClickModel = Literal["position", "cascade"]
CALIBRATION_PAGES = 1500
RESTOCK_DAYS = 7


@dataclass(frozen=True)
class Requests:
    """n searches: who, what, when. `number` is unique over the world and addresses all of its randomness."""

    number: NDArray[np.int64]
    user: NDArray[np.int64]
    query: NDArray[np.int64]
    day: NDArray[np.float64]
    """Since the log's start."""

    def __len__(self) -> int:
        """N."""
        return len(self.number)


@dataclass(frozen=True)
class State:
    """What drifts: stock per item, money spent this month per shopper, and the day."""

    day: int
    stock: NDArray[np.int64]
    spent: NDArray[np.float32]


class World:
    """A marketplace drawn from a seed. A *log* is a world plus a logging policy (`simulate`).

    Args:
        seed: Of everything.
        items: Products on sale; popularity is Zipf with exponent 1.
        queries: Distinct search texts.
        shoppers: People who search.
        domains: Of home, fashion, electronics, outdoor.
        page: Items per request.
        days: Length of the log.
        ctr: Clicks per impression under the default policy, to which the truth is calibrated.
        cvr: Purchases per click, likewise.
        click_model: `position` (position-based) or `cascade`.
        position_decay: Examination is rank ** -decay; 0 looks at everything.
        selection_bias: Weight, in conversions, of a private need that also causes clicks: the larger, the more a CVR
            fitted on clicks misleads about the entire space. 0: none.
        taste_shift: How far tastes have moved after the middle of the log, 0 to 1.
        cold_items: Share of the items that is launched late in the log.
        cold_shoppers: Share of the shoppers that joins late.
        language: Of titles and queries: en, or zh (home, fashion and electronics).
        purchase_delay: Mean days from an impression to its purchase for an item of its kind's usual price, before the
            cut at `purchase_window`; dearer ones take longer. 0: purchases come at once. Shelves and budgets go by the
            impression.
        purchase_window: Days within which every purchase comes.
        taste_weight: How much tastes matter, in clicks and in carts. At 1 a full shift costs the best ranking of before
            about 2% of its purchases, at 4 about a quarter.
        price_confounding: How strongly a demand of the week moves both clicks and carts and the sellers' prices, which
            rise with it and with the season (`Pricing`): a log then makes shoppers look less price-sensitive.
        price_hidden: Share of that demand that is an item's own, which nothing in the log tells; the rest is its
            category's.
        price_spread: Standard deviation of log prices that are tried at random, item by item and week by week.
        loyalty: Share of the searches that are for the shopper's favourite category; the others do not depend on who
            asks.
        taste_groups: How far the tastes of the six segments lie apart, beside those of shoppers within one (0.6): at
            0.5 segments overlap, at 2 they are groups that can be found.

    Raises:
        ConfigError: if a knob is out of range or a domain unknown.
    """

    def __init__(
        self,
        seed: int = 0,
        items: int = 10_000,
        queries: int = 2_000,
        shoppers: int = 5_000,
        domains: Sequence[str] = ("home", "fashion"),
        page: int = 20,
        days: int = 90,
        ctr: float = 0.06,
        cvr: float = 0.08,
        click_model: ClickModel = "position",
        position_decay: float = 0.15,
        selection_bias: float = 0.5,
        taste_shift: float = 0.0,
        cold_items: float = 0.05,
        cold_shoppers: float = 0.1,
        language: str = "en",
        purchase_delay: float = 0.0,
        purchase_window: float = 14.0,
        taste_weight: float = 1.0,
        price_confounding: float = 0.0,
        price_hidden: float = 0.0,
        price_spread: float = 0.0,
        loyalty: float = 0.0,
        taste_groups: float = 0.5,
    ) -> None:
        _check(locals())
        self.seed, self.page, self.days = seed, page, days
        self.click_model, self.position_decay = click_model, position_decay
        self.selection_bias, self.taste_shift, self.taste_weight = selection_bias, taste_shift, taste_weight
        self.purchase_delay, self.purchase_window, self.loyalty = purchase_delay, purchase_window, loyalty
        self.pricing = Pricing(price_confounding, price_hidden, price_spread)
        rng = np.random.default_rng(seed)
        self.vocabulary = load_vocabulary(tuple(domains), language)
        self.catalogue = build_catalogue(self.vocabulary, rng, items, page, days, cold_items)
        self.shoppers = build_shoppers(
            self.vocabulary, self.catalogue, rng, shoppers, days, cold_shoppers, taste_groups
        )
        self.searches = build_searches(self.vocabulary, rng, queries, zipf=0.8)
        self._click_intercept = self._cart_intercept = 0.0
        self._buy_intercept = 0.3
        self._calibrate(ctr, cvr)

    # --- tables ------------------------------------------------------------------------------------------------

    @cached_property
    def items(self) -> dict[str, NDArray[Any]]:
        """The catalogue as columns."""
        c, v = self.catalogue, self.vocabulary
        return {
            "key": np.array([f"item-{i:06d}" for i in range(len(c))]),
            "title": c.title,
            "category": np.array([v.groups[g].name for g in v.type_group])[c.type],
            "product_type": np.array([kind.name for kind in v.types])[c.type],
            "domain": np.array([kind.domain for kind in v.types])[c.type],
            "brand": np.array([brand for _, brand in v.brands])[c.brand],
            "seller": np.array([f"seller-{s:03d}" for s in range(int(c.seller.max()) + 1)])[c.seller],
            "price": c.price,
            "rating": c.rating,
            "reviews": c.reviews,
            "popularity_rank": c.popularity,
            "launched_day": c.launched,
        }

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(items, 32) stand-ins for images."""
        return self.catalogue.vectors

    @cached_property
    def queries(self) -> dict[str, NDArray[Any]]:
        """The search terms as columns."""
        s = self.searches
        names = np.array([*(group.name for group in self.vocabulary.groups), "occasion"])
        return {
            "key": np.array([f"query-{i:05d}" for i in range(len(s))]),
            "query": s.text,
            "category": names[s.group],
            "kind": s.kind,
        }

    @cached_property
    def users(self) -> dict[str, NDArray[Any]]:
        """The shoppers as columns."""
        s = self.shoppers
        bands = np.array(["indifferent", "aware", "sensitive"])
        return {
            "key": np.array([f"shopper-{i:06d}" for i in range(len(s))]),
            "segment": np.array(list(SEGMENTS))[s.segment],
            "age_band": np.array(AGE_BANDS)[s.age],
            "price_sensitivity": bands[np.digitize(s.sensitivity, (0.7, 1.4))],
            "favourite_category": np.array([group.name for group in self.vocabulary.groups])[s.favourite],
            "orders": s.orders,
        }

    # --- the environment ---------------------------------------------------------------------------------------

    def initial_state(self) -> State:
        """Full shelves, nothing spent."""
        return State(0, self.catalogue.stock.astype(np.int64), np.zeros(len(self.shoppers), np.float32))

    def prices(self, ranking: NDArray[np.int64], day: NDArray[np.float64]) -> NDArray[np.float32]:
        """What the sellers ask: list prices, a tenth of the items 15% off in any week; more by `Pricing`'s knobs."""
        return self.pricing.asked(self, ranking, day)

    def step(
        self, state: State, request: Requests, ranking: NDArray[np.int64], prices: NDArray[np.float32]
    ) -> tuple[Outcome, State]:
        """The truth of n pages shown in the same state, what came of them, and the state they lead to.

        Requests of one step do not see one another's effects; stock sold beyond what is there is back-ordered. Shelves
        fill up every week, budgets every 30 days.
        """
        state = self._until(state, int(request.day.min()) if len(request) else state.day)
        scene = self._scene(state, request, ranking, prices)
        attractive = truth.sigmoid(truth.click_utility(scene) + np.float32(self._click_intercept))
        p_examine = truth.examination(attractive, self.click_model, self.position_decay)
        p_cart = truth.sigmoid(truth.cart_utility(scene, self.selection_bias) + np.float32(self._cart_intercept))
        p_buy = truth.sigmoid(truth.purchase_utility(scene) + np.float32(self._buy_intercept))
        rank = np.arange(ranking.shape[1])
        number = request.number[:, None]
        attracted = uniform(self.seed, Stream.CLICK, number, rank)
        if self.click_model == "position":
            click = attracted < p_examine * attractive
        else:
            would = attracted < attractive
            click = would & (np.cumsum(would, axis=1) == 1)
        cart = click & (uniform(self.seed, Stream.CART, number, rank) < p_cart)
        purchase = cart & (uniform(self.seed, Stream.PURCHASE, number, rank) < p_buy)
        delay = None
        if self.purchase_delay:
            late = uniform(self.seed, Stream.DELAY, number, rank)
            delay = purchase * truth.purchase_delay(scene, self.purchase_delay, self.purchase_window, late)
        outcome = Outcome(
            p_examine=p_examine,
            p_click=p_examine * attractive,
            p_cart_given_click=p_cart,
            p_purchase_given_cart=p_buy,
            p_purchase_given_click=p_cart * p_buy,
            click=click.astype(np.int8),
            cart=cart.astype(np.int8),
            purchase=purchase.astype(np.int8),
            delay=delay,
        )
        stock, spent = state.stock.copy(), state.spent.copy()
        np.subtract.at(stock, ranking[purchase], 1)
        np.add.at(spent, np.broadcast_to(request.user[:, None], ranking.shape)[purchase], prices[purchase])
        return outcome, replace(state, stock=np.maximum(stock, 0), spent=spent)

    def _until(self, state: State, day: int) -> State:
        """The state on a later day, shelves and budgets renewed where their day has come."""
        stock, spent = state.stock, state.spent
        if day // RESTOCK_DAYS > state.day // RESTOCK_DAYS:
            stock = self.catalogue.stock.astype(np.int64)
        if day // 30 > state.day // 30:
            spent = np.zeros_like(spent)
        return State(max(day, state.day), stock, spent)

    def _scene(self, state: State, request: Requests, ranking: NDArray[np.int64], prices: NDArray[np.float32]) -> Scene:
        shoppers, late = self.shoppers, (request.day >= self.days / 2)[:, None]
        weight = np.float32(self.taste_shift) * late
        taste = (1 - weight) * shoppers.taste[request.user] + weight * shoppers.taste_later[request.user]
        scene = truth.gather(
            self.vocabulary,
            self.catalogue,
            self.searches,
            shoppers,
            user=request.user,
            query=request.query,
            day=request.day,
            ranking=ranking,
            prices=prices,
            taste=(np.float32(self.taste_weight) * taste).astype(np.float32),
            mood=normal(self.seed, Stream.MOOD, request.user, request.day.astype(np.int64)),
            private=normal(self.seed, Stream.NEED, request.number[:, None], ranking),
            spent=state.spent,
            stock=state.stock,
        )
        return replace(scene, demand=self.pricing.demand(self, ranking, request.day))

    def _calibrate(self, ctr: float, cvr: float) -> None:
        """Set the intercepts so that the default policy's pages give the wanted rates, whatever the seed and size."""
        from funneltune.marketplace.policy import Mixture, arrivals

        request = arrivals(self, CALIBRATION_PAGES, first=2**40)
        ranking = Mixture().rank(self, request)
        prices = self.prices(ranking, request.day)
        scene = self._scene(self.initial_state(), request, ranking, prices)
        looked = truth.click_utility(scene)

        def clicks(intercept: float) -> NDArray[np.float32]:
            attractive = truth.sigmoid(looked + np.float32(intercept))
            return truth.examination(attractive, self.click_model, self.position_decay) * attractive

        self._click_intercept = truth.solve_intercept(lambda b: float(clicks(b).mean()), ctr)
        p_click = clicks(self._click_intercept)
        taken = truth.cart_utility(scene, self.selection_bias)
        p_buy = truth.sigmoid(truth.purchase_utility(scene) + np.float32(self._buy_intercept))
        self._cart_intercept = truth.solve_intercept(
            lambda b: float((p_click * truth.sigmoid(taken + np.float32(b)) * p_buy).sum() / p_click.sum()), cvr
        )


def _check(knobs: dict[str, Any]) -> None:
    for name in ("items", "queries", "shoppers", "page", "days"):
        if not isinstance(knobs[name], int) or knobs[name] < 1:
            raise ConfigError(f"data.source.{name}={knobs[name]!r} must be a whole number >= 1.")
    if knobs["page"] > knobs["items"] / 2:
        raise ConfigError(
            f"data.source.page={knobs['page']} needs at least twice as many items (items={knobs['items']}); add items."
        )
    for name, low, high in (
        ("ctr", 0.001, 0.5),
        ("cvr", 0.001, 0.5),
        ("taste_shift", 0.0, 1.0),
        ("cold_items", 0.0, 0.5),
        ("cold_shoppers", 0.0, 0.9),
        ("position_decay", 0.0, 3.0),
        ("selection_bias", 0.0, 5.0),
        ("purchase_delay", 0.0, 365.0),
        ("purchase_window", 0.01, 365.0),
        ("taste_weight", 0.0, 10.0),
        ("loyalty", 0.0, 1.0),
        ("taste_groups", 0.0, 10.0),
    ):
        if not low <= knobs[name] <= high:
            raise ConfigError(f"data.source.{name}={knobs[name]} must lie in [{low}, {high}].")
    if knobs["click_model"] not in get_args(ClickModel):
        raise ConfigError(f"data.source.click_model={knobs['click_model']!r} must be position or cascade.")
