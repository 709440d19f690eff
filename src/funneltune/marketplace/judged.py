"""A click-to-purchase log *simulated* from real judgments: real texts and grades, invented shoppers and outcomes.

The truth: the better a pair was judged, the likelier its click and its purchase; positions are looked at less the lower
they are; a private need of the shopper's, which no column tells, causes both (selection bias).

Legend: n requests, pages of k items; arrays without a comment are (n, k).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError, DataError
from funneltune.marketplace.log import EPOCH, PAGES
from funneltune.marketplace.noise import Stream, normal, uniform
from funneltune.marketplace.outcomes import PRIVATE, Floats, examination, sigmoid, solve_intercept

Integers = NDArray[np.int64]

CLICK_BY_GRADE, PURCHASE_BY_GRADE = 3.0, 2.0
"""How much more a pair of the highest grade is liked than one of the lowest, in logits."""
OWN = 0.4
"""Standard deviation of what a pair has beyond its grade, in logits: the same for everyone, not written anywhere."""


@dataclass(frozen=True)
class JudgedWorld:
    """Judged pairs and the shoppers who are shown them.

    Args:
        query, item, grade: The judgments, one entry each; a pair that nobody judged counts as the lowest grade.
        seed: Of everything that is drawn.
        shoppers: How many people search.
        page: Items per request: the query's judged ones, filled up with items of other queries.
        days: Length of the log.
        ctr, cvr: Rates that the truth is calibrated to.
        position_decay: Examination is rank ** -decay.
        selection_bias: Weight of the private need in purchases.
        zipf: Exponent of the queries' popularity.
    """

    query: Integers
    item: Integers
    grade: NDArray[np.float64]
    seed: int = 0
    shoppers: int = 2_000
    page: int = 10
    days: int = 60
    ctr: float = 0.1
    cvr: float = 0.1
    position_decay: float = 0.5
    selection_bias: float = 0.5
    zipf: float = 0.8

    def __post_init__(self) -> None:
        """Refuse knobs out of range and judgments that are all alike."""
        for name in ("shoppers", "page", "days"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ConfigError(f"data.source.{name}={getattr(self, name)!r} must be a whole number >= 1.")
        for name in ("ctr", "cvr"):
            if not 0.001 <= getattr(self, name) <= 0.5:
                raise ConfigError(f"data.source.{name}={getattr(self, name)} must lie in [0.001, 0.5].")
        for name in ("position_decay", "selection_bias", "zipf"):
            if not 0 <= getattr(self, name) <= 5:
                raise ConfigError(f"data.source.{name}={getattr(self, name)} must lie in [0, 5].")
        if np.ptp(self.grade) == 0:
            raise DataError("data.source.grade holds one value only; judgments must tell items apart.")
        if len(np.unique(self.item)) < 2 * self.page:
            raise DataError(
                f"data.source.page={self.page} needs at least twice as many judged items "
                f"({len(np.unique(self.item))}); lower it."
            )

    def simulate(self, impressions: int) -> Iterator[dict[str, NDArray[Any]]]:
        """Whole requests in time order, as columns with their truth (`oracle_p_...`, `propensity`).

        Raises:
            ConfigError: on a log without a request.
        """
        if not isinstance(impressions, int) or impressions < 1:
            raise ConfigError(f"data.source.impressions={impressions!r} must be a whole number >= 1.")
        pages = -(-impressions // self.page)
        tables = _Tables.of(self)
        intercepts = self._calibrate(tables, min(pages, 1500))
        for begin in range(0, pages, PAGES):
            number = np.arange(begin, min(begin + PAGES, pages), dtype=np.int64)
            yield self._pages(tables, number, pages, intercepts)

    def _requests(self, tables: _Tables, number: Integers) -> tuple[Integers, Integers]:
        """Query and ranking of some requests: (n,) and (n, k)."""
        query = np.searchsorted(tables.cumulative, uniform(self.seed, Stream.QUERY, number) * tables.cumulative[-1])
        query = np.minimum(query, len(tables.cumulative) - 1).astype(np.int64)
        judged = tables.candidates(query, self.page)
        n_items = int(self.item.max()) + 1
        spare = np.floor(uniform(self.seed, Stream.RACE, number[:, None], np.arange(self.page)) * n_items)
        known = np.take_along_axis(judged, np.minimum(np.arange(self.page)[None, :], judged.shape[1] - 1), axis=1)
        shown = np.where((known >= 0) & (np.arange(self.page) < judged.shape[1]), known, spare).astype(np.int64)
        # The engine ranks by a noisy view of fit.
        seen = tables.fit(query, shown) + normal(self.seed, Stream.ORDER, number[:, None], shown)
        order = np.argsort(-seen, axis=1, kind="stable")
        return query, np.take_along_axis(shown, order, axis=1)

    def _utilities(self, tables: _Tables, number: Integers, query: Integers, shown: Integers) -> tuple[Floats, Floats]:
        fit = tables.fit(query, shown)
        pair = (query[:, None], shown)
        private = normal(self.seed, Stream.NEED, number[:, None], shown)
        click = CLICK_BY_GRADE * fit + OWN * normal(self.seed, Stream.RESIDUAL_CLICK, *pair) + PRIVATE * private
        buy = PURCHASE_BY_GRADE * fit + OWN * normal(self.seed, Stream.RESIDUAL_PURCHASE, *pair)
        return click.astype(np.float32), (buy + self.selection_bias * private).astype(np.float32)

    def _calibrate(self, tables: _Tables, pages: int) -> tuple[float, float]:
        number = 2**40 + np.arange(pages, dtype=np.int64)
        query, shown = self._requests(tables, number)
        click, buy = self._utilities(tables, number, query, shown)
        looked = examination(click, "position", self.position_decay)
        first = solve_intercept(lambda b: float((looked * sigmoid(click + np.float32(b))).mean()), self.ctr)
        p_click = looked * sigmoid(click + np.float32(first))
        second = solve_intercept(
            lambda b: float((p_click * sigmoid(buy + np.float32(b))).sum() / p_click.sum()), self.cvr
        )
        return first, second

    def _pages(
        self, tables: _Tables, number: Integers, pages: int, intercepts: tuple[float, float]
    ) -> dict[str, NDArray[Any]]:
        query, shown = self._requests(tables, number)
        click_utility, buy_utility = self._utilities(tables, number, query, shown)
        looked = examination(click_utility, "position", self.position_decay)
        p_click = looked * sigmoid(click_utility + np.float32(intercepts[0]))
        p_buy = sigmoid(buy_utility + np.float32(intercepts[1]))
        rank = np.arange(self.page)
        click = uniform(self.seed, Stream.CLICK, number[:, None], rank) < p_click
        purchase = click & (uniform(self.seed, Stream.PURCHASE, number[:, None], rank) < p_buy)
        when = (number + uniform(self.seed, Stream.TIME, number)) / pages * self.days * 86_400
        user = np.floor(uniform(self.seed, Stream.SHOPPER, number) * self.shoppers)
        return {
            "request": np.repeat(number, self.page),
            "user": np.repeat(user, self.page).astype(np.int32),
            "query": np.repeat(query, self.page).astype(np.int32),
            "item": shown.ravel().astype(np.int32),
            "position": np.tile(rank.astype(np.int16), len(number)),
            "time": np.repeat(EPOCH + np.floor(when), self.page),
            "grade": tables.grade(query, shown).ravel(),
            "click": click.ravel().astype(np.int8),
            "purchase": purchase.ravel().astype(np.int8),
            "propensity": looked.ravel(),
            "oracle_p_click": p_click.ravel(),
            "oracle_p_purchase_given_click": p_buy.ravel(),
        }


@dataclass(frozen=True)
class _Tables:
    """The judgments, looked up by pair and by query."""

    keys: Integers
    grades: NDArray[np.float64]
    items: Integers
    starts: Integers
    cumulative: NDArray[np.float64]
    n_items: int
    seed: int

    @classmethod
    def of(cls, world: JudgedWorld) -> _Tables:
        n_items = int(world.item.max()) + 1
        pair = world.query * n_items + world.item
        keys, place = np.unique(pair, return_inverse=True)
        grades = np.bincount(place, world.grade) / np.bincount(place)  # a pair judged twice has its mean
        n_queries = int(world.query.max()) + 1
        popular = np.random.default_rng(world.seed).permutation(n_queries)
        weight = (1.0 + popular) ** -world.zipf
        starts = np.searchsorted(keys // n_items, np.arange(n_queries + 1)).astype(np.int64)
        weight[np.diff(starts) == 0] = 0.0
        return cls(keys, grades, keys % n_items, starts, weight.cumsum(), n_items, world.seed)

    def candidates(self, query: Integers, most: int) -> Integers:
        """(n, at most `most`): the judged items of each query, -1 behind the last."""
        width = min(most, int(np.diff(self.starts).max()))
        place = self.starts[query][:, None] + np.arange(width)
        there = place < self.starts[query + 1][:, None]
        return np.where(there, self.items[np.minimum(place, len(self.items) - 1)], -1).astype(np.int64)

    def grade(self, query: Integers, shown: Integers) -> NDArray[np.float64]:
        """The grade of each pair; the lowest of all where nobody judged it."""
        wanted = query[:, None] * self.n_items + shown
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.grades[place], self.grades.min())

    def fit(self, query: Integers, shown: Integers) -> NDArray[np.float64]:
        """The grade on a scale from 0 to 1."""
        low, high = self.grades.min(), self.grades.max()
        return np.asarray((self.grade(query, shown) - low) / (high - low))
