"""What the two arms of an experiment show to the same new requests of one world, and what it is worth, in truth.

Legend: n requests, C candidates of each, pages of k places; U shoppers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from funneltune.data import Asked, LexicalIndex
from funneltune.decisions.candidates import Popular
from funneltune.decisions.online import Shop
from funneltune.decisions.order import Worth
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.marketplace import Requests, World, WorldRequests, arrivals, world_of
from funneltune.marketplace.noise import Stream, uniform
from funneltune.marketplace.satisfaction import Satisfaction, satisfaction, utility
from funneltune.marketplace.worlds import differing

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
RIVALS = ("random", "popularity", "bm25", "oracle")
"""What a run may be held against beside another run."""
METRICS = ("purchases", "clicks", "revenue", "satisfaction")
TRUE_RATES = ("ctr", "cvr", "ctcvr")
FIRST, APART = 2**41, 2**22
"""Numbers of the first seed's requests: far from those of any log, and seeds far from one another."""


@dataclass(frozen=True)
class Pages:
    """Pages and their truth; arrays are (n, k)."""

    items: Integers
    p_click: Floats
    p_purchase: Floats
    """Of a click and a purchase."""
    price: Floats
    worth: Floats
    """Utility to the shopper who buys it, in logits."""
    one_click: bool
    """A page is left at its first click (the cascade); else places are clicked independently."""

    def __len__(self) -> int:
        """N."""
        return len(self.items)

    def draw(self, rng: np.random.Generator) -> dict[str, Floats]:
        """What comes of them once: each metric at each place."""
        chance = rng.random(self.p_click.shape)
        if self.one_click:
            above = np.cumsum(self.p_click, axis=1)
            click = (chance[:, :1] < above) & (chance[:, :1] >= above - self.p_click)
        else:
            click = chance < self.p_click
        share = np.divide(self.p_purchase, self.p_click, out=np.zeros_like(self.p_click), where=self.p_click > 0)
        return self._valued(click.astype(np.float64), (click & (rng.random(chance.shape) < share)).astype(np.float64))

    @cached_property
    def expected(self) -> dict[str, Floats]:
        """The mean of `draw`."""
        return self._valued(self.p_click, self.p_purchase)

    @cached_property
    def unsold(self) -> Floats:
        """(n,): p(nothing is bought)."""
        if self.one_click:
            return np.asarray(1.0 - self.p_purchase.sum(axis=1))
        return np.asarray(np.prod(1.0 - self.p_purchase, axis=1))

    def _valued(self, click: Floats, bought: Floats) -> dict[str, Floats]:
        return {
            "clicks": click,
            "purchases": bought,
            "revenue": bought * self.price,
            "satisfaction": bought * self.worth,
        }


@dataclass(frozen=True)
class Arm:
    """One of the two rankings."""

    name: str
    pages: Pages
    calibration: str = ""
    """Of a run's probabilities; empty: none are ranked by."""


class Bench:
    """New requests of the world of two runs; both arms choose from the same candidates of each.

    Requests come on the days that the run was tested on, find full shelves and full purses, and are judged alone.

    Args:
        shop: The first run and its world, whose ways find the candidates.
        requests: How many.
        seed: Of the requests.

    Raises:
        ConfigError: if the candidates do not fill a page.
    """

    def __init__(self, shop: Shop, requests: int, seed: int) -> None:
        self.shop, self.world = shop, shop.world
        if not self.world.page <= shop.candidates <= len(shop.scorer.catalogue):
            raise ConfigError(
                f"candidates={shop.candidates} must lie in {self.world.page} .. {len(shop.scorer.catalogue)}, "
                "the places of a page and the log's items."
            )
        self.request = _arrivals(self.world, shop.scorer, requests, seed)
        self.items = shop.found(self.request)
        self.prices = self.world.prices(self.items, self.request.day)
        state = self.world.initial_state()
        none = np.zeros(requests, dtype=np.int64)
        self.truth = WorldRequests(self.world, self.request, self.items, self.prices, (state,), none)
        self.users, self.user = np.unique(self.request.user, return_inverse=True)
        self.rng = np.random.default_rng([seed, requests])

    @classmethod
    def of_run(cls, run: Path, requests: int, seed: int = 0, candidates: int = 100) -> Bench:
        """From a run's folder.

        Raises:
            ConfigError: if the log is not the marketplace's.
            RunError: if it is no finished run.
        """
        scorer = Scorer.of_run(run)
        return cls(Shop(scorer, world_of(_source(scorer)), candidates, 0), requests, seed)

    def by_user(self, values: Floats) -> Floats:
        """(U,): (n,) or (n, k) values summed by shopper."""
        of_request = values if values.ndim == 1 else values.sum(axis=1)
        found = np.bincount(self.user, weights=of_request, minlength=len(self.users))
        return np.asarray(found, dtype=np.float64)

    def pages(self, items: Integers) -> Pages:
        """The truth of any pages for these requests."""
        prices = self.world.prices(items, self.request.day)
        of = self.truth.outcomes(items, prices)
        worth = utility(self.world, self.truth.states[0], self.request, items, prices)
        p_click = of.p_click.astype(np.float64)
        bought = p_click * of.p_purchase_given_click
        return Pages(
            items,
            p_click,
            bought,
            prices.astype(np.float64),
            worth.astype(np.float64),
            self.world.click_model == "cascade",
        )

    def satisfaction(self, pages: Pages) -> Satisfaction:
        """What shoppers get from pages, in expectation."""
        return satisfaction(pages.p_purchase, pages.p_click, pages.worth, self.request)

    # --- arms --------------------------------------------------------------------------------------------------

    def of_scorer(self, name: str, scorer: Scorer, by: str) -> Arm:
        """A run's best candidates.

        Raises:
            ConfigError: if `by` is no rate of the run, nor revenue.
        """
        worth = Worth.parse(by, scorer.rates)
        rates = _rates(scorer, self.shop.asked(self.request, self.prices), self.items)
        return replace(self._best(name, self._valued(worth, rates)), calibration=scorer.calibration)

    def rival(self, name: str, by: str) -> Arm:
        """`random`, `popularity` (of the first run's training clicks), `bm25` or `oracle`, which knows the truth."""
        scorer = self.shop.scorer
        if name == "oracle":
            click, bought = (p.astype(np.float64) for p in self.truth.appeal(self.items))
            rates = dict(zip(TRUE_RATES, (click, bought, click * bought), strict=True))
            return self._best(name, self._valued(Worth.parse(by, TRUE_RATES), rates))
        if name == "popularity":
            return self._best(name, Popular.of(scorer, "count").scores[self.items])
        if name == "bm25":
            index = LexicalIndex(scorer.catalogue.titles)
            words = self.world.queries["query"]
            distinct, which = np.unique(self.request.query, return_inverse=True)
            scores = np.stack([index.scores(str(words[query])) for query in distinct])
            return self._best(name, np.take_along_axis(scores[which], self.items, axis=1))
        return self._best(name, self.rng.random(self.items.shape))

    def _valued(self, worth: Worth, rates: Mapping[str, Floats]) -> Floats:
        flat = {rate: values.ravel() for rate, values in rates.items()}
        return worth.of(flat, self.prices.ravel().astype(np.float64)).reshape(self.items.shape)

    def _best(self, name: str, value: Floats) -> Arm:
        """The best of each request's candidates; equal ones in the order in which they were found."""
        order = np.argsort(-value, axis=1, kind="stable")[:, : self.world.page]
        return Arm(name, self.pages(np.take_along_axis(self.items, order, axis=1)))


def require_one_world(scorer_a: Scorer, scorer_b: Scorer) -> None:
    """Refuse two runs of different worlds.

    Raises:
        ConfigError: naming what differs.
    """
    if apart := differing(_source(scorer_a), _source(scorer_b)):
        name, (one, other) = next(iter(apart.items()))
        raise ConfigError(
            f"run_b={scorer_b.folder}: its log's world has data.source.{name}={other}, and that of run_a has {one}; "
            "give two runs of one world."
        )


def _source(scorer: Scorer) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(scorer.assembly.cfg.data.source, resolve=True))


def _arrivals(world: World, scorer: Scorer, n: int, seed: int) -> Requests:
    """N searches of the days behind the run's training, where it was split by time; else of all days."""
    split = scorer.assembly.cfg.data.split
    begin = 1.0 - float(split.test) if split.by == "time" else 0.0
    first = FIRST + seed * APART
    at = (np.arange(n) + uniform(world.seed, Stream.TIME, first + np.arange(n, dtype=np.int64))) / n
    return arrivals(world, n, first=first, seconds=begin + (1.0 - begin) * at)


def _rates(scorer: Scorer, asked: list[Asked], items: Integers) -> dict[str, Floats]:
    """Rate -> (n, C)."""
    if scorer.assembly.data.features:
        found = scorer.score(asked, list(items))
        return {rate: np.stack([of[rate] for of in found]) for rate in scorer.rates}
    rates = {rate: np.empty(items.shape) for rate in scorer.rates}
    words: dict[str, list[int]] = {}
    for row, one in enumerate(asked):
        words.setdefault(one.query, []).append(row)
    for query, rows in words.items():  # without features a page is a matter of its words alone
        distinct, place = np.unique(items[rows], return_inverse=True)
        (said,) = scorer.score([Asked(query)], [distinct])
        for rate, values in rates.items():
            values[rows] = said[rate][place.reshape(len(rows), -1)]
    return rates
