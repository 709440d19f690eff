"""Auctions of one request after the other, with budgets that run out or are paced.

Legend: n requests, C bidders of one, k places, A advertisers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.ads.auction import Payment, auction
from funneltune.decisions.ads.market import Market

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Pacing = Literal["none", "paced"]
PACINGS: tuple[Pacing, ...] = ("none", "paced")
MOST_SHADING = 50.0
OUTCOMES = ("revenue", "clicks", "purchases", "value", "surplus", "filled")


@dataclass(frozen=True)
class Request:
    """Who competes in one request, and what a look at each would bring."""

    items: Integers
    """(C,) numbers in the log."""
    attractive: Floats
    """(C,) p(click | looked at): the truth where it is known, else what the run predicts."""
    converts: Floats
    """(C,) p(purchase | click), likewise."""
    user: int
    """The cluster of its interval."""


@dataclass(frozen=True)
class Rules:
    """How places are sold."""

    slots: int = 4
    payment: Payment = "second"
    reserve: float = 0.0
    pays: Literal["click", "purchase"] = "click"
    one_each: bool = True


@dataclass(frozen=True)
class Played:
    """What came of the auctions, in expectation over clicks and purchases."""

    per_request: dict[str, Floats]
    """Each of `OUTCOMES` -> (n,); value and surplus are the advertisers', NaN where a value is not told."""
    spent: Floats
    """(A,)."""
    ran_out: Integers
    """(A,) the request at which the budget was gone; n: never."""
    pace: Floats
    """(n,) money taken by each request, over all advertisers with a budget."""


def play(
    requests: Sequence[Request],
    rates: Sequence[Floats],
    market: Market,
    rules: Rules,
    examined: Floats,
    cascade: bool = False,
    pacing: Pacing = "none",
) -> Played:
    """Sell every request's places.

    Money is taken in expectation, so that the luck of a click neither ends nor saves a budget. `paced`: each advertiser
    with a budget bids bid / (1 + mu), and mu follows its spending: mu <- max(0, mu - step (1 - z / rho)) with z the
    money of this request, rho the budget per request and step 1 / sqrt(n) (adaptive pacing, Balseiro and Gur 2019, sec.
    3). `none`: it bids whole until the budget is gone. In both an advertiser whose budget is gone is out.

    Args:
        requests: In the order of their times.
        rates: For each request (C,), the predicted chance of what is paid for, given a look: what the auction ranks by.
        market: The bids.
        rules: Of the auction.
        examined: (k,) p(a place is looked at).
        cascade: One looks down from the top to the first click; `examined` is then left out of what happens.
        pacing: What an advertiser does about its budget.
    """
    n = len(requests)
    limited = np.isfinite(market.budget)
    mu, spent, step = np.zeros(len(market.budget)), np.zeros(len(market.budget)), 1.0 / np.sqrt(max(n, 1))
    target = np.where(limited, market.budget, np.inf) / max(n, 1)
    ran_out = np.full(len(market.budget), n)
    found = {name: np.zeros(n) for name in OUTCOMES}
    pace = np.zeros(n)
    for number, (request, rate) in enumerate(zip(requests, rates, strict=True)):
        whose = market.advertiser[request.items]
        bid = market.bid[request.items] / (1.0 + mu[whose])
        bid = np.where(spent[whose] >= market.budget[whose], np.nan, bid)
        sold = auction(
            bid,
            rate,
            whose,
            examined,
            payment=rules.payment,
            reserve=rules.reserve,
            one_each=rules.one_each,
        )
        at = sold.chosen
        looked = examined[: len(at)]
        if cascade:
            looked = np.cumprod(np.append(1.0, 1.0 - request.attractive[at]))[: len(at)]
        click = looked * request.attractive[at]
        bought = click * request.converts[at]
        paid = sold.price * (click if rules.pays == "click" else bought)
        of_one = np.bincount(whose[at], weights=paid, minlength=len(spent)).astype(np.float64)
        # the last of a budget buys what it buys: no advertiser pays more than it has
        over = np.maximum(spent + of_one - market.budget, 0.0)
        spent += of_one - over
        newly = (spent >= market.budget) & (ran_out == n) & limited
        ran_out[newly] = number
        worth = bought * market.value[request.items[at]]
        for name, total in zip(
            OUTCOMES, (paid.sum() - over.sum(), click.sum(), bought.sum(), worth.sum()), strict=False
        ):
            found[name][number] = total
        found["surplus"][number] = worth.sum() - paid.sum() + over.sum()
        found["filled"][number] = len(at) / rules.slots
        pace[number] = (of_one - over)[limited].sum()
        if pacing == "paced":
            spending = np.divide(of_one, target, out=np.zeros_like(of_one), where=limited & (target > 0))
            mu = np.where(limited, np.clip(mu - step * (1.0 - spending), 0.0, MOST_SHADING), 0.0)
    return Played(found, spent, ran_out, pace)
