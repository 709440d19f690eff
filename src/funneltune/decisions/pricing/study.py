"""A price study: demand curves of items, how elastic they are, for whom, and the price that brings most.

Legend: n impressions of an item, G prices, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.pricing.asked import Wanted
from funneltune.decisions.pricing.causal import Effect, Estimate
from funneltune.decisions.pricing.correction import PRICE, corrections, told_apart
from funneltune.decisions.pricing.curve import (
    Curve,
    arc_elasticity,
    elasticity,
    ends,
    means,
    predicted,
    resampled,
    sampled,
)
from funneltune.decisions.pricing.groups import Group, grouped, groups_of
from funneltune.decisions.pricing.optimum import best, value_at
from funneltune.decisions.pricing.settings import Settings
from funneltune.decisions.pricing.support import LoggedPrices
from funneltune.decisions.requests import Request, logged_requests
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, RunError
from funneltune.marketplace import WorldRequests, world_of, world_requests
from funneltune.marketplace.elasticities import true_demand, true_elasticity

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Advice:
    """What an item's price should be."""

    price: Estimate
    ends: tuple[float, float]
    """95% of the draws' best prices."""
    gain: Estimate
    gain_ends: tuple[float, float]
    """Per impression, best price against the price now."""
    value: float
    value_now: float
    at_bound: bool
    loses: bool = False
    """No price that may be advised lies above the cost: there is no best one."""
    regret: float | None = None
    """On the marketplace: what the true best of the prices that may be advised brings beyond this one, as a share."""
    true_price: float | None = None
    regret_of_grid: float | None = None
    """The same against the true best of the whole grid, whether the log has held it or not."""
    true_price_of_grid: float | None = None


@dataclass(frozen=True)
class Priced:
    """One item's study."""

    wanted: Wanted
    curve: Curve
    demand_ends: Floats
    """(2, G): 95% of the draws of p(click and purchase)."""
    point: Estimate
    point_ends: tuple[float, float]
    arc: float
    arc_ends: tuple[float, float]
    true_point: float | None
    allowed: NDArray[np.bool_]
    """(G,) prices that may be advised."""
    advice: Advice


@dataclass(frozen=True)
class Study:
    """All that the verb tells."""

    settings: Settings
    items: list[Priced]
    groups: list[Group]
    effects: dict[str, Effect]
    """Way of reading the log -> mean elasticity over all of its training rows; empty without a correction."""
    known: bool
    """Whether the marketplace tells the truth."""

    @property
    def corrected(self) -> bool | None:
        """Whether curves were turned to the log's mean elasticity; None: nobody asked for it."""
        return told_apart(self.effects) if self.effects else None


def price_items(scorer: Scorer, wanted: Sequence[Wanted], settings: Settings) -> Study:
    """Price each item.

    Raises:
        RunError: if the run reads no prices, the log tells none, or no page shows an item or its like.
        ConfigError: if a column or group is unknown, or no price may be advised.
        DataError: if the file of groups cannot be read.
    """
    require_prices(scorer)
    logged = LoggedPrices.of(scorer, settings.like)
    requests = [one for one in logged_requests(scorer) if one.items is not None]
    group_of = groups_of(scorer, settings.personas) if settings.personas else {}
    effects, turn = corrections(scorer, logged, settings)
    known = _known(scorer)
    truth = world_requests(scorer.folder) if known else None
    items = [priced(scorer, one, requests, logged, settings, turn, truth) for one in wanted]
    if truth is not None and effects:
        numbers = np.unique(scorer.assembly.data.store.column("request")[scorer.assembly.data.rows("train")])
        true = true_elasticity(truth.among(numbers))
        effects["the marketplace's truth"] = Effect(Estimate(true.click), Estimate(true.purchase))
    groups = grouped([one.curve for one in items], group_of, turn["purchase"].error, settings)
    return Study(settings, items, groups, effects, known)


def require_prices(scorer: Scorer) -> None:
    """Refuse a run that reads no price, whose demand is the same at any.

    Raises:
        RunError: naming what reads it; or that the run predicts no purchase.
    """
    needs = scorer.assembly.data.features
    if not set(PRICE) & {*needs.ids, *needs.numbers}:
        raise RunError(
            f"run={scorer.folder} reads no price, so that no price changes what it predicts; train one with "
            "features=all and price among data.features.numbers."
        )
    if len(scorer.funnel.binary) < 2:
        raise RunError(f"run={scorer.folder} predicts no purchase after a click, which a demand curve is made of.")


def priced(
    scorer: Scorer,
    wanted: Wanted,
    requests: Sequence[Request],
    logged: LoggedPrices,
    settings: Settings,
    turn: Mapping[str, Estimate],
    truth: WorldRequests | None,
) -> Priced:
    """One item's curve, elasticity and best price."""
    curve = _curve(scorer, wanted, requests, logged, settings, truth)
    weights = resampled(curve.user, settings.draws, settings.seed)
    turned = curve.turned(turn["click"].value, turn["purchase"].value)
    rng = np.random.default_rng([settings.seed, wanted.item])
    moved = turn["purchase"].error * rng.standard_normal((settings.draws, 1))
    draws = means(turned.purchase, weights) * np.exp(moved * curve.x)
    mean = turned.purchase.mean(axis=0)
    fitted = curve.fitted
    x, prices = curve.x[fitted], curve.prices[fitted]
    points = elasticity(x, draws[:, fitted])
    arcs = arc_elasticity(prices, draws[:, fitted])
    allowed = _allowed(curve, wanted, settings)
    return Priced(
        wanted=wanted,
        curve=turned,
        demand_ends=np.quantile(draws, [0.025, 0.975], axis=0),
        point=Estimate(float(elasticity(x, mean[fitted])), float(points.std(ddof=1))),
        point_ends=ends(points),
        arc=float(arc_elasticity(prices, mean[fitted])),
        arc_ends=ends(arcs),
        true_point=None if curve.truth is None else float(elasticity(x, curve.truth.purchase.mean(axis=0)[fitted])),
        allowed=allowed,
        advice=_advice(turned, wanted, settings, allowed, mean, draws),
    )


def _curve(
    scorer: Scorer,
    wanted: Wanted,
    requests: Sequence[Request],
    logged: LoggedPrices,
    settings: Settings,
    truth: WorldRequests | None,
) -> Curve:
    places = sampled(wanted.item, requests, logged, settings.requests)
    if len({one.request.asked.user for one in places}) < 2:
        raise RunError(
            f"item={wanted.key}: the test split shows it or its like to {len(places)} shopper(s); a demand curve needs "
            "two or more. Train with a larger test split (data.split.test)."
        )
    now = wanted.now
    click, purchase = predicted(scorer, wanted.item, places, now, settings.ratios)
    users = {user: n for n, user in enumerate(dict.fromkeys(one.request.asked.user for one in places))}
    curve = Curve(
        item=wanted.item,
        key=wanted.key,
        now=now,
        prices=now * settings.ratios,
        click=click,
        purchase=purchase,
        user=np.array([users[one.request.asked.user] for one in places]),
        users=[one.request.asked.user for one in places],
        place=np.array([one.number for one in places]),
        stand_in=np.array([one.stand_in for one in places]),
        support=logged.near(wanted.item, now * settings.ratios),
    )
    if truth is None:
        return curve
    pages = truth.among(np.array([int(one.request.key) for one in places]))
    return replace(curve, truth=true_demand(pages, wanted.item, curve.place, curve.prices))


def _allowed(curve: Curve, wanted: Wanted, settings: Settings) -> NDArray[np.bool_]:
    """(G,) prices within bounds and, unless they may be beyond it, within what the log has held."""
    inside = (curve.prices >= wanted.low * (1 - 1e-9)) & (curve.prices <= wanted.high * (1 + 1e-9))
    if not inside.any():
        raise ConfigError(
            f"item={wanted.key}: low={wanted.low:g} and high={wanted.high:g} leave no price of the grid "
            f"({curve.prices[0]:.4g} to {curve.prices[-1]:.4g}); widen them or the grid."
        )
    held = curve.held | (settings.beyond == "warn") | np.isclose(curve.x, 0.0)  # the price now was asked
    if not (inside & held).any():
        raise ConfigError(
            f"item={wanted.key}: the log has held no price within low={wanted.low:g} and high={wanted.high:g}, neither "
            "of the item nor of its like; beyond=warn goes by the run's guess."
        )
    return np.asarray(inside & held)


def _advice(
    curve: Curve, wanted: Wanted, settings: Settings, allowed: NDArray[np.bool_], mean: Floats, draws: Floats
) -> Advice:
    """The best price of the mean curve, and of every draw."""
    cost = wanted.cost if settings.goal == "profit" else 0.0
    margin = curve.prices - cost
    at_now = int(np.argmin(np.abs(curve.x)))
    top, tops = best(curve.prices, margin * mean[None], allowed), best(curve.prices, margin * draws, allowed)
    price = float(top.price[0])
    # What the advised price brings in each draw, not what each draw's own best does: that is never below the price now.
    gains = np.array([value_at(curve.prices, margin * one, price) for one in draws]) - margin[at_now] * draws[:, at_now]
    value, value_now = float(top.value[0]), float(margin[at_now] * mean[at_now])
    truths: dict[str, float] = {}
    if curve.truth is not None:
        true = margin * curve.truth.purchase.mean(axis=0)
        for name, of in (("", allowed), ("_of_grid", np.ones_like(allowed))):
            truly = best(curve.prices, true[None], of)
            lost = 1 - value_at(curve.prices, true, price) / float(truly.value[0]) if truly.value[0] > 0 else 0.0
            truths |= {f"true_price{name}": float(truly.price[0]), f"regret{name}": lost}
    on = np.flatnonzero(allowed)
    return Advice(
        price=Estimate(price, float(tops.price.std(ddof=1))),
        ends=ends(tops.price),
        gain=Estimate(value_at(curve.prices, margin * mean, price) - value_now, float(gains.std(ddof=1))),
        gain_ends=ends(gains),
        value=value,
        value_now=value_now,
        at_bound=bool(np.isclose(price, curve.prices[on[[0, -1]]]).any()),
        loses=bool((margin[allowed] <= 0).all()),
        **truths,
    )


def _known(scorer: Scorer) -> bool:
    try:
        world_of(scorer.folder)
    except ConfigError:
        return False
    return True
