"""Sponsored places sold by a run's predictions: against other ways to rank, over reserves, under budgets.

Legend: n requests, C bidders of one, k places, A advertisers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.ads.auction import PAYMENTS, Payment
from funneltune.decisions.ads.campaign import OUTCOMES, PACINGS, Pacing, Played, Request, Rules, play
from funneltune.decisions.ads.market import Market
from funneltune.decisions.finding import require_way
from funneltune.decisions.recommend import LOGGED, Recommender
from funneltune.decisions.requests import Request as Asked
from funneltune.decisions.requests import logged_requests
from funneltune.decisions.scorer import Rates, Scorer
from funneltune.decisions.settings import Ranking
from funneltune.errors import ConfigError
from funneltune.marketplace import world_of, world_requests
from funneltune.metrics.intervals import Interval, clustered_mean

Floats = NDArray[np.float64]
Pays = Literal["click", "purchase"]
OWN, RAW, BID, ORACLE = "the run", "the run, uncalibrated", "the bid alone", "the oracle"
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Of bids that a reserve of the curve shuts out."""


@dataclass(frozen=True)
class Settings:
    """What is sold, to whom and how.

    Args:
        slots: Sponsored places of a page.
        pays: What an advertiser pays for: a click, or a purchase.
        payment: second, vcg or first: see `auction`.
        reserve: The least price of an event; None: the one of the curve that takes most on the validation requests.
        advertiser: Column of the items that says whose they are.
        candidates: logged (what the request showed), or a way of finding: lexical, semantic, popular, hybrid, ...
        depth: How many a way finds.
        requests: The split's first so many; None: all.
        budget_share: Without budgets of their own, advertisers have this share of what they would spend at will.
        decay: A place is looked at with place ** -decay; None: as the marketplace does, else 0.
        one_each: An advertiser has one place of a page at most.

    Raises:
        ConfigError: if a value is out of range.
    """

    slots: int = 4
    pays: Pays = "click"
    payment: Payment = "second"
    reserve: float | None = 0.0
    advertiser: str = "seller"
    candidates: str = LOGGED
    depth: int = 50
    requests: int | None = None
    budget_share: float = 0.5
    decay: float | None = None
    one_each: bool = True

    def __post_init__(self) -> None:
        """Refuse what no auction has."""
        for name, least in (("slots", 1), ("depth", 1), ("requests", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} must be a whole number, {least} or more.")
        for name, known in (("pays", get_args(Pays)), ("payment", PAYMENTS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}={getattr(self, name)} must be one of {', '.join(known)}.")
        if self.reserve is not None and not 0 <= self.reserve < np.inf:
            raise ConfigError(f"reserve={self.reserve:g} must be money, 0 or more, or auto.")
        if not 0 < self.budget_share <= 1:
            raise ConfigError(f"budget_share={self.budget_share:g} must lie above 0, up to 1.")
        if self.decay is not None and not 0 <= self.decay <= 3:
            raise ConfigError(f"decay={self.decay:g} must lie in [0, 3].")
        require_way(
            "candidates", self.candidates, [LOGGED, "lexical", "semantic", "collaborative", "popular", "hybrid"]
        )


@dataclass(frozen=True)
class Sale:
    """Requests in the order of their times, with what each way to rank says of them."""

    requests: list[Request]
    rates: dict[str, list[Floats]]
    """Way -> for each request (C,), p(what is paid for | a look)."""
    examined: Floats
    cascade: bool
    known: bool
    """Whether what comes of a place is the world's truth, or the run's own word."""

    @property
    def users(self) -> Floats:
        """(n,) the clusters of intervals."""
        return np.array([request.user for request in self.requests], dtype=np.float64)


@dataclass(frozen=True)
class Sold:
    """All that the verb tells."""

    settings: Settings
    market: Market
    sale: Sale
    ways: dict[str, Played]
    """Way to rank -> what came of it, without budgets."""
    reserve: float
    curve: list[tuple[float, dict[str, Interval]]]
    """Reserve -> each outcome per request."""
    paced: dict[Pacing, Played]

    def mean(self, way: str, outcome: str) -> Interval:
        """Per request."""
        return clustered_mean(self.ways[way].per_request[outcome], self.sale.users)

    def against(self, way: str, outcome: str) -> Interval:
        """The run less this way, per request: the same requests and bids."""
        own = self.ways[OWN].per_request[outcome]
        return clustered_mean(own - self.ways[way].per_request[outcome], self.sale.users)


def mean_conversion(scorer: Scorer) -> float:
    """Purchases per click of the training rows.

    Raises:
        ConfigError: if the run's tasks are no funnel of two or more.
    """
    binary = scorer.funnel.binary
    if len(binary) < 2:
        raise ConfigError(f"run={scorer.folder} predicts no purchase after a click, which advertisers pay for.")
    data = scorer.assembly.data
    rows = data.rows("train")
    first, last = (data.store.column(task.name)[rows] == 1 for task in (binary[0], binary[-1]))
    return float(last.sum() / max(first.sum(), 1))


def sale_of(scorer: Scorer, settings: Settings, split: str) -> Sale:
    """The requests of a split and what competes in each.

    Raises:
        ConfigError: if candidates cannot be found so, or are fewer than the places.
    """
    asked = list(logged_requests(scorer, split, settings.requests))
    finder = Recommender(scorer, Ranking(candidates=settings.candidates, depth=settings.depth))
    competing = [finder.competing(request) for request in asked]
    _require_candidates(settings, split, max((len(one.numbers) for one in competing), default=0))
    said = scorer.score([one.asked for one in competing], [one.numbers for one in competing])
    ways = {OWN: [_event(rates, scorer, settings) for rates in said]}
    if scorer.scalings:
        raw = scorer.under("none").score([one.asked for one in competing], [one.numbers for one in competing])
        ways[RAW] = [_event(rates, scorer, settings) for rates in raw]
    mean = float(np.mean(np.concatenate(ways[OWN])))
    ways[BID] = [np.full(len(rates), mean) for rates in ways[OWN]]
    users: dict[str, int] = {}
    cluster = [users.setdefault(one.asked.user or one.key, len(users)) for one in asked]
    items = [one.numbers for one in competing]
    places = np.arange(1, settings.slots + 1, dtype=np.float64)
    try:
        world = world_of(scorer.folder)
    except ConfigError:
        first, last = scorer.rates[0], scorer.rates[-1]
        truth = [(of[first], of[last] / np.maximum(of[first], 1e-12)) for of in said]
        requests = [Request(i, *t, u) for i, t, u in zip(items, truth, cluster, strict=True)]
        return Sale(requests, ways, places ** -(settings.decay or 0.0), cascade=False, known=False)
    truth = _true(scorer, asked, items)
    requests = [Request(i, *t, u) for i, t, u in zip(items, truth, cluster, strict=True)]
    ways[ORACLE] = [t[0] if settings.pays == "click" else t[0] * t[1] for t in truth]
    decay = world.position_decay if settings.decay is None else settings.decay
    return Sale(requests, ways, places**-decay, cascade=world.click_model == "cascade", known=True)


def sell(scorer: Scorer, market: Market, settings: Settings, reserve: float) -> Sold:
    """Every way to rank without budgets; reserves; then the run's way under budgets.

    Raises:
        ConfigError: if no request has a bidder.
    """
    sale = sale_of(scorer, settings, "test")
    rules = Rules(settings.slots, settings.payment, reserve, settings.pays, settings.one_each)
    free = market.with_budget(np.full(len(market.budget), np.inf))
    ways = {name: _played(sale, free, rules, name) for name in sale.rates}
    if not ways[OWN].per_request["filled"].any():
        raise ConfigError(
            f"bids: no item that competes has a bid of {reserve:g} or more; lower reserve or bid on more items."
        )
    curve = []
    for one in reserves(sale, market):
        of_one = _played(sale, free, replace(rules, reserve=one), OWN).per_request
        curve.append((one, {name: clustered_mean(of_one[name], sale.users) for name in OUTCOMES}))
    limited = market
    if not np.isfinite(market.budget).any():
        limited = market.with_budget(settings.budget_share * ways[OWN].spent)
    paced = {pacing: _played(sale, limited, rules, OWN, pacing) for pacing in PACINGS}
    return Sold(settings, limited, sale, ways, reserve, curve, paced)


def _require_candidates(settings: Settings, split: str, most: int) -> None:
    """Refuse places that no page has a bidder for.

    Raises:
        ConfigError: naming how many items compete at most.
    """
    if settings.slots > most:
        more = "name candidates=hybrid" if settings.candidates == LOGGED else "raise depth"
        raise ConfigError(
            f"slots={settings.slots} must be at most {most}, the items that compete on the widest {split} page "
            f"(candidates={settings.candidates}); lower it, or {more} for more of them."
        )


def reserves(sale: Sale, market: Market) -> list[float]:
    """Prices that shut out a growing share of the bids that compete."""
    bids = np.concatenate([market.bid[request.items] for request in sale.requests])
    bids = bids[bids > 0]
    return [0.0, *(float(np.quantile(bids, share)) for share in SHARES[1:])] if len(bids) else [0.0]


def best_reserve(scorer: Scorer, market: Market, settings: Settings) -> float:
    """The reserve of the curve that takes most on the validation requests, by the run's own predictions."""
    sale = sale_of(scorer, settings, "validation")
    requests = [
        replace(request, attractive=rate, converts=np.ones(len(rate)))
        for request, rate in zip(sale.requests, sale.rates[OWN], strict=True)
    ]
    own = replace(sale, requests=requests)
    free = market.with_budget(np.full(len(market.budget), np.inf))
    rules = Rules(settings.slots, settings.payment, 0.0, settings.pays, settings.one_each)
    taken: Mapping[float, float] = {
        one: float(_played(own, free, replace(rules, reserve=one), OWN).per_request["revenue"].sum())
        for one in reserves(own, market)
    }
    return max(taken, key=lambda one: (taken[one], -one))


def _played(sale: Sale, market: Market, rules: Rules, way: str, pacing: Pacing = "none") -> Played:
    return play(sale.requests, sale.rates[way], market, rules, sale.examined, sale.cascade, pacing)


def _event(rates: Rates, scorer: Scorer, settings: Settings) -> Floats:
    """p(what is paid for | shown)."""
    return rates[scorer.rates[0] if settings.pays == "click" else scorer.rates[-1]]


def _true(scorer: Scorer, asked: Sequence[Asked], items: Sequence[NDArray[np.int64]]) -> list[tuple[Floats, Floats]]:
    """For each request: p(click | looked at), p(purchase | click)."""
    widest = max(map(len, items))
    padded = np.stack([np.pad(one, (0, widest - len(one)), mode="edge") for one in items])
    truth = world_requests(scorer.folder, np.array([int(one.key) for one in asked]))
    attractive, converts = truth.appeal(padded)
    return [
        (attractive[row, : len(one)].astype(np.float64), converts[row, : len(one)].astype(np.float64))
        for row, one in enumerate(items)
    ]
