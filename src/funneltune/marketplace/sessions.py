"""Several pages to one shopper: what was shown decides whether they ask for more.

Legend: n sessions, C candidates of each, pages of k places; arrays without a comment are (n,).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace.noise import Stream, uniform
from funneltune.marketplace.outcomes import Outcome
from funneltune.marketplace.world import Requests, State, World

MOST_PAGES = 64
"""Of a session: its pages take as many numbers of the world's randomness."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sessions:
    """Where n sessions stand before their next page."""

    request: Requests
    """As it was when they began: who, what, when."""
    page: int
    """Pages shown so far."""
    alive: NDArray[np.bool_]
    """Whether the shopper is still there."""
    dry: NDArray[np.int64]
    """Pages in a row without a click."""
    clicks: NDArray[np.int64]
    purchases: NDArray[np.int64]
    spent: Floats
    """In this session."""
    shown: NDArray[np.bool_]
    """(n, C): candidates that were on a page; none is shown twice."""

    def __len__(self) -> int:
        """N."""
        return len(self.request)


class Shown(NamedTuple):
    """One page of each session; zeros where the shopper had left."""

    purchases: Floats
    """Expected: the truth, given what came before."""
    clicks: Floats
    """Likewise."""
    revenue: Floats
    """Likewise."""
    bought: NDArray[np.int64]
    """Drawn."""
    paid: Floats
    """Drawn."""


class SessionWorld:
    """A world whose shoppers ask for page after page, and leave.

    After each page a shopper leaves with chance `satisfied` where something was bought; with chance `leave` where
    something was clicked; after d pages in a row without a click with chance 1 - (1 - leave)(1 - impatience)^d. What
    was bought uses the budget up; shelves are those of the day's start. The last page ends the session.

    Args:
        world: Its truth of a page.
        pages: At most.
        leave: Chance to leave after a page with a click.
        impatience: How much a page without a satisfying item costs.
        satisfied: Chance to leave after a purchase.

    Raises:
        ConfigError: if a chance lies outside [0, 1], or the pages outside 1 to 64.
    """

    def __init__(
        self, world: World, pages: int = 6, leave: float = 0.1, impatience: float = 0.4, satisfied: float = 0.5
    ) -> None:
        if not 1 <= pages <= MOST_PAGES:
            raise ConfigError(f"pages={pages} must lie in 1 .. {MOST_PAGES}.")
        for name, chance in (("leave", leave), ("impatience", impatience), ("satisfied", satisfied)):
            if not 0 <= chance <= 1:
                raise ConfigError(f"{name}={chance} must lie in [0, 1], a chance.")
        self.world, self.pages = world, pages
        self.leave, self.impatience, self.satisfied = leave, impatience, satisfied

    def begin(self, request: Requests, candidates: int) -> Sessions:
        """N sessions before their first page."""
        n, none = len(request), np.zeros(len(request), dtype=np.int64)
        shown = np.zeros((n, candidates), dtype=bool)
        return Sessions(request, 0, np.ones(n, dtype=bool), none, none, none, np.zeros(n), shown)

    def step(
        self,
        sessions: Sessions,
        items: NDArray[np.int64],
        prices: NDArray[np.float32],
        places: NDArray[np.int64],
    ) -> tuple[Shown, Sessions]:
        """Show a page to whoever is still there.

        Args:
            sessions: Where they stand.
            items: (n, C) candidates.
            prices: (n, C).
            places: (n, k): which candidates, best first.

        Raises:
            ConfigError: if a candidate is shown twice.
        """
        if np.take_along_axis(sessions.shown, places, axis=1)[sessions.alive].any():
            raise ConfigError("places: an item was on an earlier page of the session; show what is left.")
        n = len(sessions)
        clicked, bought = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        expected = {name: np.zeros(n) for name in ("purchases", "clicks", "revenue")}
        paid = np.zeros(n)
        for rows, state, request in self._groups(sessions):
            ranking = np.take_along_axis(items[rows], places[rows], axis=1)
            asked = np.take_along_axis(prices[rows], places[rows], axis=1)
            outcome, _ = self.world.step(state, request, ranking, asked)
            both = outcome.p_click.astype(np.float64) * outcome.p_purchase_given_click
            expected["purchases"][rows] = both.sum(axis=1)
            expected["clicks"][rows] = outcome.p_click.sum(axis=1)
            expected["revenue"][rows] = (both * asked).sum(axis=1)
            clicked[rows], bought[rows], paid[rows] = _drawn(outcome, asked)
        dry = np.where(clicked > 0, 0, sessions.dry + 1)
        shown = sessions.shown.copy()
        np.put_along_axis(shown, places, values=True, axis=1)
        return Shown(**expected, bought=bought, paid=paid), replace(
            sessions,
            page=sessions.page + 1,
            alive=sessions.alive & ~self._leaves(sessions, clicked, bought, dry),
            dry=dry,
            clicks=sessions.clicks + clicked,
            purchases=sessions.purchases + bought,
            spent=sessions.spent + paid,
            shown=shown,
        )

    def _leaves(
        self, sessions: Sessions, clicked: NDArray[np.int64], bought: NDArray[np.int64], dry: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        if sessions.page + 1 == self.pages:
            return np.ones(len(sessions), dtype=bool)
        bored = 1 - (1 - self.leave) * (1 - self.impatience) ** dry
        chance = np.where(bought > 0, self.satisfied, np.where(clicked > 0, self.leave, bored))
        number = sessions.request.number * MOST_PAGES + sessions.page
        return np.asarray(uniform(self.world.seed, Stream.PATIENCE, number) < chance)

    def _groups(self, sessions: Sessions) -> Iterator[tuple[NDArray[np.int64], State, Requests]]:
        """The living sessions in groups that no shopper is in with two purses: the world keeps one per shopper."""
        alive = np.flatnonzero(sessions.alive)
        user = sessions.request.user
        group = np.zeros(len(sessions), dtype=np.int64)
        payers = alive[sessions.spent[alive] > 0]
        order = payers[np.argsort(user[payers], kind="stable")]
        first = np.searchsorted(user[order], user[order])
        group[order] = 1 + np.arange(len(order)) - first
        for number in np.unique(group[alive]):
            rows = alive[group[alive] == number]
            request = Requests(**{f.name: getattr(sessions.request, f.name)[rows] for f in fields(Requests)})
            request = replace(request, number=request.number * MOST_PAGES + sessions.page)
            spent = np.zeros(len(self.world.shoppers), dtype=np.float32)
            spent[request.user] = sessions.spent[rows]
            yield rows, replace(self.world.initial_state(), day=int(request.day.min()), spent=spent), request


def _drawn(outcome: Outcome, prices: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Clicks, purchases and what was paid, page by page."""
    paid = (outcome.purchase * prices).sum(axis=1, dtype=np.float64)
    return outcome.click.sum(axis=1, dtype=np.int64), outcome.purchase.sum(axis=1, dtype=np.int64), paid
