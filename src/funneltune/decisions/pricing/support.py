"""Which prices a log has held: beyond them a predicted demand is a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, RunError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
OWN, LIKE, NONE = "item", "like", "none"
OWN_ROWS, LIKE_ROWS = 5, 20
"""Training rows near a price from which on the item, or its like, counts as having had it."""


class Support(NamedTuple):
    """What the log holds near each price of a grid, (G,)."""

    own: Integers
    """Training rows of the item."""
    like: Integers
    """Of all items of its like, its own included."""
    own_share: Floats
    like_share: Floats

    @property
    def level(self) -> NDArray[np.str_]:
        """`item`: it had the price itself; `like`: only others of its like had; `none`: nobody had."""
        return np.where(self.own >= OWN_ROWS, OWN, np.where(self.like >= LIKE_ROWS, LIKE, NONE))


@dataclass(frozen=True)
class LoggedPrices:
    """The training rows' prices.

    Args:
        item: (rows,) whose.
        price: (rows,).
        like: (items,) number of each item's like; None: the log does not tell.
    """

    item: Integers
    price: Floats
    like: Integers | None

    @classmethod
    def of(cls, scorer: Scorer, like: str) -> LoggedPrices:
        """Of a run's log; `like`: a column of its items. Without it each item is its own like.

        Raises:
            RunError: if the log tells no prices.
            ConfigError: if another column than the default is named, and the items have none such.
        """
        store = scorer.assembly.data.store
        if not store.has("price"):
            raise RunError(
                f"run={scorer.folder}: its log tells no price of an impression; name its column in the data config "
                "(source.price)."
            )
        rows = scorer.assembly.data.rows("train")
        item, price = store.column("item")[rows].astype(np.int64), store.column("price")[rows].astype(np.float64)
        store.release()
        there = np.isfinite(price) & (price > 0)
        if like == "category" and like not in scorer.catalogue.columns:
            return cls(item[there], price[there], None)
        try:
            words = scorer.catalogue.column(like).astype(str)
        except ConfigError as error:
            raise ConfigError(f"like={like}: {error}") from None
        return cls(item[there], price[there], np.unique(words, return_inverse=True)[1])

    def near(self, item: int, prices: Floats) -> Support:
        """What they hold within half a step of each price of a grid, the step being the middle one of their logs: a
        price that was asked counts for the nearest of the grid, and says nothing of the next.
        """
        step = float(np.median(np.diff(np.log(prices)))) / 2 + 1e-6
        mine = self.item == item
        alike = mine if self.like is None else self.like[self.item] == self.like[item]
        own, like = (
            np.array([int((np.abs(logs - at) <= step).sum()) for at in np.log(prices)], dtype=np.int64)
            for logs in (np.log(self.price[mine]), np.log(self.price[alike]))
        )
        return Support(own, like, own / max(int(mine.sum()), 1), like / max(int(alike.sum()), 1))
