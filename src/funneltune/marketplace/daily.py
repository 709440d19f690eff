"""What a log of the marketplace sells of each item, in truth: as its shelves were, and had nothing been sold out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from funneltune.marketplace.log import EPOCH
from funneltune.marketplace.worlds import Source, WorldRequests, world_requests

PLENTY = 2**31
"""Pieces on a shelf that no day empties."""


@dataclass(frozen=True)
class Chances:
    """Per impression of some requests' pages, end to end: what it is of, when, and how likely it sells."""

    item: NDArray[np.int64]
    day: NDArray[np.int64]
    """Since 1 January 1970, UTC."""
    sold: NDArray[np.float64]
    """p(click and purchase) with the shelves as they were: what the log could sell."""
    wanted: NDArray[np.float64]
    """The same with full shelves: demand. An item that is sold out is clicked, and seldom bought."""


def chances_of(source: Source, numbers: NDArray[np.int64]) -> Chances:
    """The truth of the pages that a log showed; `numbers`: of its requests.

    Raises:
        ConfigError: if the log was not drawn from the marketplace, or has no such request.
    """
    found = world_requests(source, numbers)
    full = tuple(replace(state, stock=np.full_like(state.stock, PLENTY)) for state in found.states)
    day = np.floor(EPOCH / 86_400 + found.request.day).astype(np.int64)
    return Chances(
        found.shown.ravel(),
        np.repeat(day, found.shown.shape[1]),
        _bought(found),
        _bought(replace(found, states=full)),
    )


def _bought(requests: WorldRequests) -> NDArray[np.float64]:
    outcome = requests.outcomes(requests.shown, requests.prices)
    return np.asarray(outcome.p_click.astype(np.float64) * outcome.p_purchase_given_click).ravel()
