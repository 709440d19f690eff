"""Two rankings on one page: what team-draft interleaving tells of them, and with how many requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from funneltune.decisions.abtest.arms import Bench, Floats, Pages
from funneltune.metrics.ab_tests import credit, team_draft

PAIRS = 10
"""Of coin draws: each set of coins and its opposite, so that equal rankings come out exactly even."""
DRAWS = 5
"""Of what comes of each set of pages."""
CREDITS = ("clicks", "purchases")


@dataclass(frozen=True)
class Mixed:
    """Interleaved pages, one credit: what the second ranking's items brought, less the first's."""

    preference: float
    """Expected, per shopper: above 0 where the second ranking is preferred."""
    error: float
    """Standard error of `preference` by the coins."""
    values: Floats
    """(shoppers x draws,) of what was drawn."""

    @property
    def sign(self) -> float:
        """Which ranking it finds, given time: 1, -1; 0 where the coins leave it open."""
        return float(np.sign(self.preference)) if abs(self.preference) > 2 * self.error else 0.0


def interleave(bench: Bench, a: Pages, b: Pages, rng: np.random.Generator, pairs: int = PAIRS) -> dict[str, Mixed]:
    """Show interleaved pages to the same requests, with credit by clicks and by purchases.

    Team-draft (Radlinski, Kurup and Joachims 2008): in each round a coin says which ranking picks first; a click counts
    for the ranking that picked the item.
    """
    drawn: dict[str, list[Floats]] = {name: [] for name in CREDITS}
    expected: dict[str, list[float]] = {name: [] for name in CREDITS}
    for _ in range(pairs):
        coins = rng.random(a.items.shape) < 0.5
        sides: dict[str, list[float]] = {name: [] for name in CREDITS}
        for tossed in (coins, ~coins):
            items, team = team_draft(a.items, b.items, tossed)
            pages = bench.pages(items)
            for happened in (pages.draw(rng) for _ in range(DRAWS)):
                for name in CREDITS:
                    drawn[name].append(bench.by_user(credit(happened[name], team)))
            for name in CREDITS:
                sides[name].append(float(bench.by_user(credit(pages.expected[name], team)).mean()))
        for name in CREDITS:
            expected[name].append(float(np.mean(sides[name])))
    return {
        name: Mixed(
            preference=float(np.mean(expected[name])),
            error=float(np.std(expected[name], ddof=1) / np.sqrt(pairs)),
            values=np.concatenate(drawn[name]),
        )
        for name in CREDITS
    }
