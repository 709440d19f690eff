"""A price study: demand curves of items, how elastic they are, for whom, and the price that brings most.

Legend: n impressions of an item, G prices, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.pricing.asked import Wanted
from funneltune.decisions.pricing.causal import Effect, Estimate, double_ml, naive, rows_of
from funneltune.decisions.pricing.curve import Curve, arc_elasticity, elasticity, means, predicted, resampled, sampled
from funneltune.decisions.pricing.optimum import best, value_at
from funneltune.decisions.pricing.settings import Settings
from funneltune.decisions.pricing.support import LoggedPrices
from funneltune.decisions.requests import READERS, Request, logged_requests, read_frame
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError, RunError
from funneltune.marketplace import WorldRequests, world_of, world_requests
from funneltune.marketplace.elasticities import true_demand, true_elasticity

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SHIFT = 0.05
"""Of log prices, by which the run's mean elasticity is taken."""
MEAN_PAGES = 300
"""Pages that it is taken on."""
PRICE = ("price", "item.price")


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
    regret: float | None = None
    """On the marketplace: what the true best price brings beyond this one, as a share of it."""
    true_price: float | None = None


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
    groups: list[tuple[str, int, float, float, tuple[float, float]]]
    """Group, impressions, purchases per impression now, elasticity and its ends."""
    effects: dict[str, Effect]
    """Way of reading the log -> mean elasticity over all of its training rows; empty without a correction."""
    known: bool
    """Whether the marketplace tells the truth."""


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
    return Study(settings, items, _grouped(items, group_of, turn, settings), effects, known)


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
    fitted = curve.held if curve.held.sum() >= 3 else np.ones(len(curve.x), bool)
    x, prices = curve.x[fitted], curve.prices[fitted]
    points = elasticity(x, draws[:, fitted])
    arcs = arc_elasticity(prices, draws[:, fitted])
    allowed = _allowed(curve, wanted, settings)
    return Priced(
        wanted=wanted,
        curve=turned,
        demand_ends=np.quantile(draws, [0.025, 0.975], axis=0),
        point=Estimate(float(elasticity(x, mean[fitted])), float(points.std(ddof=1))),
        point_ends=_ends(points),
        arc=float(arc_elasticity(prices, mean[fitted])),
        arc_ends=_ends(arcs),
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
    held = curve.held | (settings.beyond == "warn")
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
    regret = true_price = None
    if curve.truth is not None:
        true = margin * curve.truth.purchase.mean(axis=0)
        truly = best(curve.prices, true[None], allowed)
        true_price = float(truly.price[0])
        regret = 1 - value_at(curve.prices, true, price) / float(truly.value[0]) if truly.value[0] > 0 else 0.0
    on = np.flatnonzero(allowed)
    return Advice(
        price=Estimate(price, float(tops.price.std(ddof=1))),
        ends=_ends(tops.price),
        gain=Estimate(value - value_now, float(gains.std(ddof=1))),
        gain_ends=_ends(gains),
        value=value,
        value_now=value_now,
        at_bound=bool(np.isclose(price, curve.prices[on[[0, -1]]]).any()),
        regret=regret,
        true_price=true_price,
    )


# --- whole log -----------------------------------------------------------------------------------------------------


def corrections(
    scorer: Scorer, logged: LoggedPrices, settings: Settings
) -> tuple[dict[str, Effect], dict[str, Estimate]]:
    """Mean elasticities of the log as it is read in several ways, and what is added to the run's."""
    if settings.correct == "none":
        return {}, {"click": Estimate(0.0, 0.0), "purchase": Estimate(0.0, 0.0)}
    rows = rows_of(scorer, logged.like)
    causal = double_ml(rows, settings.seed)
    run = mean_elasticity(scorer)
    effects = {
        "as the run predicts": run,
        "within items, as the log is": naive(rows),
        "double machine learning": causal,
    }
    turn = {
        name: Estimate(getattr(causal, name).value - getattr(run, name).value, getattr(causal, name).error)
        for name in ("click", "purchase")
    }
    return effects, turn


def mean_elasticity(scorer: Scorer) -> Effect:
    """As the run predicts it, over its last training pages, at the prices that were asked."""
    data = scorer.assembly.data
    some = np.sort(data.requests("train"))[-MEAN_PAGES:]
    requests = list(logged_requests(scorer, only=some))
    totals = []
    for sign in (1, -1):
        asked = [
            replace(one.asked, columns={**one.asked.columns, **_moved(scorer, one, float(np.exp(sign * SHIFT)))})
            for one in requests
        ]
        said = scorer.score(asked, [one.items for one in requests])
        totals.append([sum(float(of[rate].sum()) for of in said) for rate in (scorer.rates[0], scorer.rates[-1])])
    click, purchase = (np.log(np.array(totals[0]) / np.array(totals[1])) / (2 * SHIFT)).tolist()
    return Effect(Estimate(click), Estimate(purchase))


def _moved(scorer: Scorer, request: Request, ratio: float) -> dict[str, Floats]:
    needs, price = scorer.assembly.data.features, np.asarray(request.asked.columns["price"], dtype=np.float64)
    return {name: price * ratio for name in PRICE if name in (*needs.ids, *needs.numbers)}


def groups_of(scorer: Scorer, personas: str) -> dict[str, str]:
    """Shopper -> group, by a file with columns user, group or by a column of the log's shoppers.

    Raises:
        DataError: if the file lacks a column.
        ConfigError: if the shoppers have no such column.
    """
    if Path(personas).suffix in READERS:
        frame = read_frame(Path(personas), "personas")
        if missing := [name for name in ("user", "group") if name not in frame]:
            raise DataError(f"personas={personas}: column {missing[0]!r} is missing; it needs user and group.")
        return dict(zip(frame["user"].astype(str), frame["group"].astype(str), strict=True))
    table = scorer.assembly.data.store.table("users")
    name = personas.removeprefix("user.")
    if name not in table.column_names or name == "key":
        told = ", ".join(column for column in table.column_names if column != "key")
        raise ConfigError(
            f"personas={personas} is no column of the log's shoppers; they have {told or 'none'}, or name a file with "
            "columns user, group (.csv)."
        )
    return dict(zip(map(str, table.column("key").to_pylist()), map(str, table.column(name).to_pylist()), strict=True))


def _grouped(
    items: Sequence[Priced],
    group_of: Mapping[str, str],
    turn: Mapping[str, Estimate],
    settings: Settings,
) -> list[tuple[str, int, float, float, tuple[float, float]]]:
    """Elasticity of each group's demand for all of the items together."""
    if not group_of:
        return []
    users = np.array([user for one in items for user in one.curve.users], dtype=object)
    purchase = np.concatenate([one.curve.purchase for one in items])
    held = np.all([one.curve.held for one in items], axis=0)
    fitted = held if held.sum() >= 3 else np.ones(len(held), bool)
    x = items[0].curve.x
    groups = np.array([group_of.get(user, "none") for user in users], dtype=object)
    at_now, found = int(np.argmin(np.abs(x))), []
    rng = np.random.default_rng(settings.seed)
    moved = turn["purchase"].error * rng.standard_normal(settings.draws)
    for group in sorted(set(groups)):
        mine = groups == group
        ends = (float("nan"), float("nan"))
        if len(set(users[mine])) > 1:
            weights = resampled(
                np.unique(users[mine].astype(str), return_inverse=True)[1], settings.draws, settings.seed
            )
            ends = _ends(elasticity(x[fitted], means(purchase[mine], weights)[:, fitted]) + moved)
        mean = purchase[mine].mean(axis=0)
        value = float(elasticity(x[fitted], mean[fitted]))
        found.append((str(group), int(mine.sum()), float(mean[at_now]), value, ends))
    return found


def _known(scorer: Scorer) -> bool:
    try:
        world_of(scorer.folder)
    except ConfigError:
        return False
    return True


def _ends(draws: Floats) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
