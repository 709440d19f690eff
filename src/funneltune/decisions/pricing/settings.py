"""What a price study is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError

Goal = Literal["revenue", "profit"]
Correction = Literal["none", "dml"]
Beyond = Literal["refuse", "warn"]
MOST_PRICES = 101


@dataclass(frozen=True)
class Settings:
    """What is asked.

    Args:
        grid: Lowest and highest price, as shares of an item's price now, and how many from one to the other.
        goal: What the best price brings most of: revenue, or profit (revenue less cost).
        cost: Of one unit, in money; None: `cost_share`.
        cost_share: Of one unit, as a share of the item's price now; None: unknown.
        low: The best price is this or more, in money; None: the grid's lowest.
        high: The best price is this or less; None: the grid's highest.
        correct: none: what the run predicts; dml: its mean elasticity replaced by the log's by double machine learning.
        personas: Column of the shoppers, or a file that gives each shopper a group; empty: no groups.
        like: Column of the items that says which are alike.
        beyond: refuse: the best price is one that the log has held, for the item or its like; warn: any of the grid.
        requests: Pages per item at most.
        draws: Of the bootstrap.
        seed: Of the bootstrap and of cross-fitting.

    Raises:
        ConfigError: if a value is out of range.
    """

    grid: tuple[float, float, int] = (0.7, 1.3, 13)
    goal: Goal = "revenue"
    cost: float | None = None
    cost_share: float | None = None
    low: float | None = None
    high: float | None = None
    correct: Correction = "none"
    personas: str = ""
    like: str = "category"
    beyond: Beyond = "refuse"
    requests: int = 200
    draws: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no price study can do."""
        start, end, n = self.grid
        if not (0 < start < end < 100 and 3 <= n <= MOST_PRICES):
            raise ConfigError(
                f"grid={start:g}:{end:g}:{n} must be LOW:HIGH:PRICES, shares of the price now with LOW < HIGH, and 3 "
                f"to {MOST_PRICES} prices (0.7:1.3:13)."
            )
        for name, known in (("goal", Goal), ("correct", Correction), ("beyond", Beyond)):
            if getattr(self, name) not in get_args(known):
                raise ConfigError(f"{name}={getattr(self, name)} must be one of {', '.join(get_args(known))}.")
        for name in ("cost", "cost_share", "low", "high"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < np.inf:
                raise ConfigError(f"{name}={value:g} must be a number, 0 or more.")
        if self.cost is not None and self.cost_share is not None:
            raise ConfigError(f"cost={self.cost:g} and cost_share={self.cost_share:g} say the same; give one of them.")
        if self.cost_share is not None and self.cost_share > 1:
            raise ConfigError(
                f"cost_share={self.cost_share:g} is more than the price; give a share, 0 to 1 (0.6), or cost=MONEY."
            )
        for name in ("cost", "cost_share"):
            if self.goal == "revenue" and getattr(self, name) is not None:
                raise ConfigError(f"{name}={getattr(self, name):g} says nothing of goal=revenue; add goal=profit.")
        for name, least in (("requests", 2), ("draws", 100), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)} must be a whole number, {least} or more.")

    @property
    def ratios(self) -> NDArray[np.float64]:
        """(G,) the grid's prices as shares of the price now, which is always one of them."""
        start, end, n = self.grid
        even = np.linspace(start, end, n)
        return np.asarray(even if np.isclose(even, 1.0).any() else np.sort(np.append(even, 1.0)))
