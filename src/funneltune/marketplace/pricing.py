"""What sellers ask, and the demand of the week that they may see before any log does.

Legend: n requests, pages of k items; arrays without a comment are (n, k).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace.noise import Stream, normal, uniform
from funneltune.marketplace.outcomes import Floats, season

if TYPE_CHECKING:
    from funneltune.marketplace.world import World

Integers = NDArray[np.int64]

PROMOTED, OFF = 0.1, 0.85
"""Share of the items on promotion in any week, and what is left of their price."""
APPEAL = 0.5
"""Weight of the week's demand in clicks and in carts, per unit of `price_confounding`."""
MARKUP_DEMAND, MARKUP_SEASON = 0.1, 0.05
"""What sellers add to log prices, per unit of `price_confounding`, where demand or season is one unit high."""
FARTHEST = 0.7
"""Of a log price from its usual one, whatever adds up."""


@dataclass(frozen=True)
class Pricing:
    """How sellers set prices.

    The demand of a week is shared by all items of a category but for a part that is an item's own:

        demand = sqrt(1 - hidden) g(category, week) + sqrt(hidden) e(item, week),    g, e standard normal

    It raises clicks and carts (`APPEAL`) and, because sellers see it coming, prices: a log then holds high prices where
    many buy, and who reads demand off it without the week's demand takes shoppers for less price-sensitive than they
    are. What a category's week has in common can be read off the log; `hidden` cannot.

    Args:
        confounding: How strongly demand moves both; 0: sellers do not see it, and there is none.
        hidden: Share of its variance that is an item's own.
        spread: Standard deviation of log prices by tests at random, item by item and week by week.

    Raises:
        ConfigError: if a value is out of range.
    """

    confounding: float = 0.0
    hidden: float = 0.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no seller does."""
        for name, value, high in (
            ("price_confounding", self.confounding, 5.0),
            ("price_hidden", self.hidden, 1.0),
            ("price_spread", self.spread, 0.5),
        ):
            if not 0 <= value <= high:
                raise ConfigError(f"data.source.{name}={value} must lie in [0.0, {high}].")

    def asked(self, world: World, ranking: Integers, day: NDArray[np.float64]) -> Floats:
        """Prices: list prices, a tenth of the items 15% off in any week, and what demand and tests add."""
        week = _week(day)
        promoted = uniform(world.seed, Stream.PROMOTION, ranking, week) < PROMOTED
        price = np.where(promoted, OFF, 1.0).astype(np.float32) * world.catalogue.price[ranking]
        if not self.confounding and not self.spread:
            return np.asarray(price)
        moved = np.float32(self.spread) * normal(world.seed, Stream.PRICE_TEST, ranking, week)
        if self.confounding:
            peaks = season(world.vocabulary, world.catalogue.type[ranking], day)
            added = MARKUP_DEMAND * self._weekly(world, ranking, week) + MARKUP_SEASON * peaks
            moved = moved + np.float32(self.confounding) * added
        return np.asarray(price * np.exp(np.clip(moved, -FARTHEST, FARTHEST)), dtype=np.float32)

    def demand(self, world: World, ranking: Integers, day: NDArray[np.float64]) -> Floats | float:
        """What the week adds to the utility of a click and of a cart; 0.0 where sellers see nothing."""
        if not self.confounding:
            return 0.0
        return np.asarray(np.float32(self.confounding * APPEAL) * self._weekly(world, ranking, _week(day)))

    def _weekly(self, world: World, ranking: Integers, week: Integers) -> Floats:
        category = world.vocabulary.type_group[world.catalogue.type[ranking]]
        of_category = normal(world.seed, Stream.CATEGORY_DEMAND, category, week)
        own = normal(world.seed, Stream.ITEM_DEMAND, ranking, week)
        return np.asarray(np.float32((1 - self.hidden) ** 0.5) * of_category + np.float32(self.hidden**0.5) * own)


def _week(day: NDArray[np.float64]) -> Integers:
    return (day // 7).astype(np.int64)[:, None]
