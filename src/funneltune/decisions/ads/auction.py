"""One page's auction: who is shown where, and what each pays. NumPy only.

Legend: C bidders, k places; a place has the chance `examined` to be looked at.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Payment = Literal["second", "vcg", "first"]
PAYMENTS: tuple[Payment, ...] = ("second", "vcg", "first")


class Sold(NamedTuple):
    """The places that found a bidder, from the top."""

    chosen: Integers
    """(at most k,) places in the list of bidders."""
    price: Floats
    """Of one event (a click, a purchase), never above the bid nor below the reserve."""


def auction(
    bid: Floats,
    rate: Floats,
    advertiser: Integers,
    examined: Floats,
    *,
    payment: Payment = "second",
    reserve: float = 0.0,
    one_each: bool = True,
) -> Sold:
    """Rank by bid x rate (eCPM: the money that a look is expected to bring) and price the places.

    `second`: the generalised second price, the least with which the place would have been kept: the score of the next
    one, divided by the own rate (Edelman, Ostrovsky and Schwarz 2007; with rates, Varian 2007). `vcg`: what the others
    lose by one's being there, for places that are looked at with known chances (Vickrey, Clarke, Groves; Varian and
    Harris 2014, eq. 3). `first`: the bid. Of equal scores the earlier bidder stands first.

    Args:
        bid: (C,) money per event; NaN or below the reserve: does not take part.
        rate: (C,) predicted chance of the event, given a look, above 0.
        advertiser: (C,) whose the item is.
        examined: (k,) chance of a look at each place, falling; only `vcg` reads it.
        payment: How prices are made.
        reserve: The least that an event is sold for.
        one_each: An advertiser has one place of a page at most, and never prices its own.

    Raises:
        ConfigError: if the payment is unknown, or `examined` rises.
    """
    if payment not in PAYMENTS:
        raise ConfigError(f"payment={payment} must be one of {', '.join(PAYMENTS)}.")
    k = len(examined)
    taking = np.flatnonzero((bid >= reserve) & (bid > 0) & (rate > 0))
    order = taking[np.argsort(-(bid * rate)[taking], kind="stable")]
    if one_each:
        _, first = np.unique(advertiser[order], return_index=True)
        order = order[np.sort(first)]
    chosen = order[:k]
    score = (bid * rate)[order[: k + 1]]
    following = np.append(score[1:], np.zeros(max(0, len(chosen) + 1 - len(score))))[: len(chosen)]
    floor = reserve * rate[chosen]
    if payment == "first":
        return Sold(chosen, bid[chosen])
    if payment == "vcg":
        if (np.diff(examined) > 0).any():
            raise ConfigError("payment=vcg needs places that are looked at less and less; this log's are not.")
        following = _externality(np.maximum(following, 0.0), examined[: len(chosen)])
    paid = np.maximum(following, floor) / rate[chosen]
    return Sold(chosen, np.minimum(paid, bid[chosen]))


def _externality(following: Floats, examined: Floats) -> Floats:
    """Per look at each place: what those below lose, who would each stand one place higher.

    sum over j >= i of (w_j - w_(j+1)) score_(j+1), divided by w_i; below the last place no one looks.
    """
    lost = examined - np.append(examined[1:], 0.0)
    total = np.cumsum((lost * following)[::-1])[::-1]
    return np.asarray(total / examined)
