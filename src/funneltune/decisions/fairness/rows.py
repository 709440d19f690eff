"""The rows of a log with what a run says of them, the page that a ranking makes of each request, and what pages bring.

Legend: N rows, n requests; arrays without a comment are (N,), requests one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.recommend import LOGGED, Competing, Recommender
from funneltune.decisions.requests import logged_requests
from funneltune.decisions.scorer import Rates, Scorer
from funneltune.decisions.settings import Ranking
from funneltune.errors import ConfigError
from funneltune.marketplace import WorldRequests, world_requests

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """What was shown, what came of it, what the run says, and where the audited ranking puts it."""

    request: Integers
    """From 0, ascending."""
    cluster: Integers
    """The shopper from 0; where the log tells none, the request."""
    item: Integers
    """Its number in the log."""
    user: Integers
    """The shopper's number in the log."""
    label: Floats
    """Whether what the rate speaks of happened."""
    known: Flags
    """Whether it could be seen: a purchase after a click, among clicks alone."""
    p: Floats
    """The calibrated rate."""
    value: Floats
    """What the ranking goes by: an item's merit for the request."""
    place: Integers
    """On the ranking's page, from 1; 0: not on it."""
    logged: Integers
    """On the log's own page, from 1."""
    top: int
    """Places of a page."""
    price: Floats | None = None

    @property
    def n(self) -> int:
        """Requests."""
        return int(self.request[-1]) + 1

    @cached_property
    def starts(self) -> Integers:
        """(n,) where each request begins."""
        return np.flatnonzero(np.concatenate([[True], np.diff(self.request) > 0])).astype(np.int64)

    @cached_property
    def cluster_of_request(self) -> Integers:
        """(n,)."""
        return self.cluster[self.starts]

    @property
    def seen(self) -> Floats:
        """How much the ranking's page exposes each row: 1 / log2(1 + place), 0 below the page."""
        return seen(self.place, self.top)

    def placed(self, value: Floats) -> Integers:
        """Places by another value, the best first; of equal ones by item."""
        order = np.lexsort((self.item, -value, self.request))
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order)) - np.repeat(self.starts, np.diff(np.append(self.starts, len(order)))) + 1
        return np.where(place <= self.top, place, 0)

    def ndcg(self, place: Integers) -> Floats:
        """(n,) NDCG of pages against what happened; NaN where nothing did."""
        gain = np.bincount(self.request, self.label * self.known * seen(place, self.top), self.n)
        happened = np.bincount(self.request, self.label * self.known, self.n).astype(np.int64)
        best = np.append(0.0, np.cumsum(1.0 / np.log2(np.arange(2, self.top + 2))))
        with np.errstate(invalid="ignore"):
            return np.asarray(gain / np.where(happened > 0, best[np.minimum(happened, self.top)], np.nan))


def seen(place: Integers, top: int) -> Floats:
    """1 / log2(1 + place) on the page's places, else 0 (Singh and Joachims 2018)."""
    shown = (place >= 1) & (place <= top)
    return np.where(shown, 1.0 / np.log2(1.0 + np.where(shown, place, 1)), 0.0)


class Truth:
    """What the marketplace's shoppers would do with other pages of the same requests.

    Args:
        world: The rows' requests, played again.
        rows: The rows.
    """

    def __init__(self, world: WorldRequests, rows: Rows) -> None:
        self.world, self.rows = world, rows

    def merit(self) -> Floats:
        """(N,) p(click and purchase | looked at), wherever an item would stand."""
        rows = self.rows
        within = np.arange(len(rows.item)) - rows.starts[rows.request]
        pages = np.repeat(rows.item[rows.starts][:, None], int(within.max()) + 1, axis=1)
        pages[rows.request, within] = rows.item
        attractive, converts = self.world.appeal(pages)
        return np.asarray((attractive * converts)[rows.request, within], dtype=np.float64)

    def purchases(self, place: Integers) -> Floats:
        """(n,) expected on each page."""
        rows, on = self.rows, np.flatnonzero(place > 0)
        first = rows.item[on[np.lexsort((place[on], rows.request[on]))]]
        count = np.bincount(rows.request[on], minlength=rows.n)
        start = np.minimum(np.cumsum(count) - count, max(len(first) - 1, 0))
        pages = np.repeat(first[start][:, None], max(int(count.max()), 1), axis=1)  # what is not there repeats the top
        pages[rows.request[on], place[on] - 1] = rows.item[on]
        outcome = self.world.outcomes(pages)
        bought = np.asarray(outcome.p_click * outcome.p_purchase_given_click, dtype=np.float64)
        there = np.arange(pages.shape[1]) < count[:, None]
        return np.asarray(np.where(there, bought, 0.0).sum(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Collected:
    """Rows, with what other rankings of the same run need."""

    rows: Rows
    recommender: Recommender
    competing: list[Competing]
    said: list[Rates]

    def truth(self) -> Truth | None:
        """None where the log is none of the marketplace's."""
        try:
            world = world_requests(
                self.recommender.scorer.folder, np.array([int(one.request) for one in self.competing])
            )
        except ConfigError:
            return None
        return Truth(world, self.rows)

    def place(self, recommender: Recommender) -> Integers:
        """(N,) places on the pages of another ranking of the same candidates."""
        found = np.zeros(len(self.rows.item), dtype=np.int64)
        for start, competing, p in zip(self.rows.starts, self.competing, self.said, strict=True):
            page = recommender.placed(competing, p).items
            found[start + np.searchsorted(competing.numbers, page)] = np.arange(1, len(page) + 1)
        return found


def collect(scorer: Scorer, ranking: Ranking, rate: str, split: str, most: int | None) -> Collected:
    """The rows of a split and the ranking's pages of what was shown.

    Raises:
        ConfigError: if the run says no such rate, or its split has no request.
    """
    rate = require_rate(scorer, rate)
    recommender = Recommender(scorer, replace(ranking, candidates=LOGGED))
    asked = list(logged_requests(scorer, split, most))
    if not asked:
        raise ConfigError(f"run={scorer.folder} has no request in its {split} split, so that nothing can be measured.")
    competing = [recommender.competing(request) for request in asked]
    said = scorer.score([one.asked for one in competing], [one.numbers for one in competing])
    store, users = scorer.assembly.data.store, scorer.rows.users
    firsts = [np.unique(one.items, return_index=True)[1] for one in asked if one.items is not None]
    kept = np.concatenate([one.rows[first] for one, first in zip(asked, firsts, strict=True) if one.rows is not None])
    sizes = np.array([len(one.numbers) for one in competing])
    label, known = happened(scorer, rate, kept)
    told = shopper_told(scorer)
    cluster: dict[str, int] = {}
    of_request = [cluster.setdefault(one.asked.user if told else one.key, len(cluster)) for one in asked]
    position = store.column("position")[kept].astype(np.int64) if store.has("position") else np.concatenate(firsts)
    rows = Rows(
        request=np.repeat(np.arange(len(asked)), sizes),
        cluster=np.repeat(np.array(of_request, dtype=np.int64), sizes),
        item=np.concatenate([one.numbers for one in competing]),
        user=np.repeat(np.array([users[one.asked.user] for one in asked], dtype=np.int64), sizes),
        label=label,
        known=known,
        p=np.concatenate([one[rate] for one in said]),
        value=np.concatenate([recommender.worth.of(p, one.price) for p, one in zip(said, competing, strict=True)]),
        place=np.zeros(int(sizes.sum()), dtype=np.int64),
        logged=position,
        top=ranking.top,
    )
    rows = replace(rows, logged=rows_in_order(rows, position))
    found = Collected(rows, recommender, competing, said)
    return replace(found, rows=replace(rows, place=found.place(recommender)))


def rows_in_order(rows: Rows, position: Integers) -> Integers:
    """(N,) each request's rows by a column of positions, from 1 without gaps."""
    order = np.lexsort((position, rows.request))
    found = np.empty(len(order), dtype=np.int64)
    found[order] = np.arange(len(order)) - rows.starts[rows.request[order]] + 1
    return found


def happened(scorer: Scorer, rate: str, kept: Integers) -> tuple[Floats, Flags]:
    """What a rate speaks of, row by row, and where that can be seen at all."""
    funnel, store = scorer.funnel, scorer.assembly.data.store
    labels = {name: store.column(name)[kept] for name in funnel.names}
    task = next(one for one in funnel.binary if rate in (one.rate, one.joint_rate))
    observed = funnel.observed(labels, task.name)
    label = ((labels[task.name] == 1) & observed).astype(np.float64)
    everywhere = rate == task.joint_rate or not task.given
    return label, np.ones(len(kept), dtype=bool) if everywhere else observed


def require_rate(scorer: Scorer, rate: str) -> str:
    """The rate, or the run's first where none is named: clicks are many.

    Raises:
        ConfigError: if the run has none of that name.
    """
    if rate and rate not in scorer.rates:
        raise ConfigError(f"rate={rate} must be one of {', '.join(scorer.rates)}, the rates of run={scorer.folder}.")
    return rate or scorer.rates[0]


def shopper_told(scorer: Scorer) -> bool:
    """Whether the log tells shoppers apart."""
    return len(scorer.rows.users) > 1


def same_log(one: Scorer, other: Scorer, folder: Path) -> None:
    """Raises ConfigError unless two runs were tested on the same requests of one log."""
    mine, theirs = (scorer.assembly.data for scorer in (one, other))
    if mine.store.fingerprint != theirs.store.fingerprint or not np.array_equal(
        mine.requests("test"), theirs.requests("test")
    ):
        raise ConfigError(
            f"against={folder} was tested on other requests than run={one.folder}; give runs of the same log and split."
        )
