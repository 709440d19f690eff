"""What the marketplace's sellers would pay for a purchase or a click of each item, and how much they spend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.marketplace.noise import Stream, normal, uniform
from funneltune.marketplace.world import World

LEAST_MARGIN, MOST_MARGIN = 0.15, 0.45
BELIEF_SPREAD = 0.4
"""Standard deviation of the log of what sellers believe of their items' purchases per click, around the shop's mean."""


@dataclass(frozen=True)
class Bids:
    """What each item's seller bids; arrays have one entry per item of the world."""

    per_click: NDArray[np.float64]
    """The value of a purchase times what the seller believes of purchases per click."""
    per_purchase: NDArray[np.float64]
    """The margin: what a purchase is worth to the seller, in truth."""


def bids_of(world: World, cvr: float) -> Bids:
    """Sellers' bids, a function of the world's seed alone.

    Each item's margin is 15% to 45% of its list price. A seller knows it, but not the item's purchases per click: it
    believes the shop's mean `cvr`, by a factor of its own that is off by about 40% either way.
    """
    item = np.arange(len(world.catalogue))
    share = LEAST_MARGIN + (MOST_MARGIN - LEAST_MARGIN) * uniform(world.seed, Stream.BID, item, 0)
    margin = share * world.catalogue.price
    belief = np.exp(BELIEF_SPREAD * normal(world.seed, Stream.BID, item, 1) - BELIEF_SPREAD**2 / 2)
    return Bids(np.asarray(margin * cvr * belief, dtype=np.float64), np.asarray(margin, dtype=np.float64))
