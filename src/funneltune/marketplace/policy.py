"""Who searches when, and what a logging policy shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace.needs import loyal
from funneltune.marketplace.noise import Stream, uniform

if TYPE_CHECKING:
    from funneltune.marketplace.world import Requests, World

DRAWN_PER_PLACE = 3
"""Candidates drawn for each place of a page; what repeats or is not on sale yet gives way."""


class Policy(Protocol):
    """Chooses pages."""

    def rank(self, world: World, request: Requests) -> NDArray[np.int64]:
        """(n, page) item numbers, none twice on a page, all on sale."""
        ...


def arrivals(world: World, n: int, first: int = 0, seconds: NDArray[np.float64] | None = None) -> Requests:
    """N requests from number `first` on, in time order over the log's days; `seconds` gives their times in [0, 1)."""
    from funneltune.marketplace.world import Requests

    number = first + np.arange(n, dtype=np.int64)
    if seconds is None:
        seconds = (np.arange(n) + uniform(world.seed, Stream.TIME, number)) / n
    day = seconds * world.days
    user = _draw(np.cumsum(world.shoppers.activity), uniform(world.seed, Stream.SHOPPER, number))
    early = np.flatnonzero(world.shoppers.joined <= 0)
    stand_in = early[(uniform(world.seed, Stream.SHOPPER, number, 1) * len(early)).astype(np.int64)]
    user = np.where(world.shoppers.joined[user] <= day, user, stand_in)
    return Requests(number, user, searched(world, number, user, day), day)


def searched(
    world: World, number: NDArray[np.int64], user: NDArray[np.int64], day: NDArray[np.float64]
) -> NDArray[np.int64]:
    """What each request's shopper searches for."""
    return loyal(world, number, user, _queries(world, number, day))


def _queries(world: World, number: NDArray[np.int64], day: NDArray[np.float64]) -> NDArray[np.int64]:
    """Zipf over the search terms; out of season, half of the searches for a seasonal product become another search."""
    cumulated = np.cumsum(world.searches.weight)
    query = _draw(cumulated, uniform(world.seed, Stream.QUERY, number))
    peak = world.searches.season[query]
    distance = np.abs((day - peak + 182.5) % 365 - 182.5)
    leaves = (distance > 60) & (uniform(world.seed, Stream.INTENT, number) < 0.5)
    return np.asarray(np.where(leaves, _draw(cumulated, uniform(world.seed, Stream.QUERY, number, 1)), query))


def _draw(cumulated: NDArray[np.float64], chance: NDArray[np.float64]) -> NDArray[np.int64]:
    place = np.searchsorted(cumulated, chance * cumulated[-1], side="right")
    return np.asarray(np.minimum(place, len(cumulated) - 1), dtype=np.int64)


@dataclass
class Mixture:
    """The default logging policy: a page mixes what fits the query, what is popular and what is anything.

    Each place is drawn on its own: with chance `fitting` from the items whose type fits the query's target (by fit and
    popularity), with chance `popular` by popularity alone, else uniformly; the page's order is by draw, so positions
    carry no fit beyond that. `fitting=0, popular=1` is the popularity policy, both 0 the random one.
    """

    fitting: float = 0.5
    popular: float = 0.4
    zipf: float = 1.0
    _tables: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """The chances must be ones."""
        if not (0 <= self.fitting <= 1 and 0 <= self.popular <= 1 and self.fitting + self.popular <= 1):
            raise ConfigError(
                f"data.source.policy: fitting={self.fitting} and popular={self.popular} must be chances whose sum is "
                "at most 1; lower one."
            )

    def _cumulated(self, world: World) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(cumulated popularity; cumulated fit per target, target t in [t, t + 1), laid end to end)."""
        if id(world) not in self._tables:
            weight = 1.0 / (world.catalogue.popularity + 1.0) ** self.zipf
            fit = world.vocabulary.match.astype(np.float64)[:, world.catalogue.type] ** 2
            rows = np.cumsum(fit * weight + 1e-12, axis=1)
            rows /= rows[:, -1:]
            self._tables = {id(world): (np.cumsum(weight), (rows + np.arange(len(rows))[:, None]).ravel())}
        return self._tables[id(world)]

    def rank(self, world: World, request: Requests) -> NDArray[np.int64]:
        """(n, page) item numbers."""
        drawn, allowed = self._draws(world, request)
        return _first_distinct(drawn, allowed, world.page, world, request)

    def chances(self, world: World, request: Requests) -> NDArray[np.float64]:
        """(n, items) with what chance the next draw is an item, among those on sale: what every place is drawn by.

        A page is the first distinct items of such draws, so that a place of it, given the places above, has item i with
        chance q_i / (1 - sum of q above): a Plackett-Luce model, exactly. Places that `places_drawn` does not count
        are not drawn.
        """
        popularity, fits = self._cumulated(world)
        items, target = len(world.catalogue), world.searches.target[request.query].astype(np.int64)
        popular = np.diff(popularity, prepend=0.0) / popularity[-1]
        of_target, place = np.unique(target, return_inverse=True)
        fit = np.diff(fits.reshape(-1, items)[of_target], axis=1, prepend=of_target[:, None].astype(np.float64))
        rest = (1.0 - self.fitting - self.popular) / items
        q = (self.fitting * fit + self.popular * popular + rest)[place]
        q = np.where(world.catalogue.launched <= request.day[:, None], q, 0.0)
        return np.asarray(q / q.sum(axis=1, keepdims=True))

    def places_drawn(self, world: World, request: Requests) -> NDArray[np.int64]:
        """(n,) places from the top that were drawn; the draws ran out below, and popular items fill up."""
        drawn, allowed = self._draws(world, request)
        return np.asarray(np.minimum(_fresh(drawn, allowed).sum(axis=1), world.page))

    def _draws(self, world: World, request: Requests) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The candidates in the order of their draws, and which of them are on sale."""
        popularity, fits = self._cumulated(world)
        items, page = len(world.catalogue), world.page
        tries = np.arange(DRAWN_PER_PLACE * page)
        number = request.number[:, None]
        kind = uniform(world.seed, Stream.RACE, number, tries)
        chance = uniform(world.seed, Stream.ORDER, number, tries)
        target = world.searches.target[request.query].astype(np.float64)[:, None]
        fitting = np.searchsorted(fits, np.minimum(chance, 1 - 1e-9) + target, side="right") % items
        drawn = np.where(
            kind < self.fitting,
            fitting,
            np.where(kind < self.fitting + self.popular, _draw(popularity, chance), (chance * items).astype(np.int64)),
        )
        return drawn, np.asarray(world.catalogue.launched[drawn] <= request.day[:, None])


def _fresh(drawn: NDArray[np.int64], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which draws are allowed and the first of their item."""
    by_item = np.argsort(drawn, axis=1, kind="stable")
    ordered = np.take_along_axis(drawn, by_item, axis=1)
    repeated = np.zeros_like(allowed)
    np.put_along_axis(repeated, by_item[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return np.asarray(allowed & ~repeated)


def _first_distinct(
    drawn: NDArray[np.int64], allowed: NDArray[np.bool_], page: int, world: World, request: Requests
) -> NDArray[np.int64]:
    """The first `page` distinct allowed items of each row, filled up from the popular ones where too few were drawn."""
    fresh = _fresh(drawn, allowed)
    places = np.argsort(~fresh, axis=1, kind="stable")[:, :page]
    ranking = np.take_along_axis(drawn, places, axis=1)
    for row in np.flatnonzero(fresh.sum(axis=1) < page):
        kept = drawn[row][fresh[row]][:page]
        on_sale = world.catalogue.by_popularity[
            world.catalogue.launched[world.catalogue.by_popularity] <= request.day[row]
        ]
        ranking[row] = np.concatenate([kept, on_sale[~np.isin(on_sale, kept)][: page - len(kept)]])
    return ranking
