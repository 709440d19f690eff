"""From a trained run on a simulated log to new requests in its world, with the run's word on each candidate.

Legend: n requests, C candidates of each, W width of a text vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from funneltune.backbones import Encoder
from funneltune.data import Asked
from funneltune.decisions.candidates import Candidates, Hybrid, Lexical, Popular, Semantic
from funneltune.decisions.online.stream import CLICK, PURCHASE, Arrivals, Floats, Integers, logit
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.marketplace import Requests, World, arrivals, world_of
from funneltune.marketplace.log import EPOCH

FIRST, APART = 2**32, 2**22
"""Numbers of the first seed's requests: far from the log's own, and seeds far from one another."""


@dataclass
class Shop:
    """A run, its world with tastes that shift, and ways to draw requests.

    Args:
        scorer: The run.
        world: Of its log, but for the shift.
        candidates: Items of each request.
        components: Principal components of each set of item vectors that corrections may depend on.
    """

    scorer: Scorer
    world: World
    candidates: int = 60
    components: int = 32

    @classmethod
    def of_run(cls, run: Path, taste_shift: float = 1.0, candidates: int = 60, components: int = 32) -> Shop:
        """From a run's folder; tastes move by `taste_shift` (0 to 1) after the middle of the days.

        Raises:
            ConfigError: if the log is not the marketplace's, the run does not predict clicks and purchases, or there
                are more candidates than items.
            RunError: if it is no finished run.
        """
        scorer = Scorer.of_run(run)
        source: Any = OmegaConf.to_container(scorer.assembly.cfg.data.source, resolve=True)
        world = world_of({**source, "taste_shift": taste_shift})
        if {CLICK, PURCHASE} - set(scorer.funnel.names):
            raise ConfigError(
                f"run={run} predicts {', '.join(scorer.funnel.names)}; what is shown online is decided by p(click and "
                "purchase): train with the tasks click and purchase."
            )
        if not 1 <= candidates <= len(scorer.catalogue):
            raise ConfigError(f"candidates={candidates} must lie in 1 .. {len(scorer.catalogue)}, the log's items.")
        if components < 0:
            raise ConfigError(f"components={components} must be >= 0, principal components of the item vectors.")
        return cls(scorer, world, candidates, components)

    def requests(self, n: int, seed: int) -> Requests:
        """N searches over all days of the log, none of which is in it."""
        return arrivals(self.world, n, first=FIRST + seed * APART)

    def arrivals(self, request: Requests) -> Arrivals:
        """These requests with their candidates and what the run says of them."""
        prices_of = self.world.prices
        items = self.found(request)
        prices = prices_of(items, request.day)
        p_click, p_both = self._scored(self.asked(request, prices), items)
        logits = {CLICK: logit(p_click), PURCHASE: logit(p_both / np.maximum(p_click, 1e-9))}
        return Arrivals(request, items, prices, logits, self._features(items, prices))

    def asked(self, request: Requests, prices: NDArray[np.float32]) -> list[Asked]:
        """The requests in the words that a scorer takes."""
        words, users = self.world.queries["query"], self.world.users["key"]
        return [
            Asked(str(words[q]), str(users[u]), EPOCH + float(np.floor(day * 86_400)), {"price": price})
            for q, u, day, price in zip(request.query, request.user, request.day, prices, strict=True)
        ]

    def seen(self, k: int) -> Floats:
        """(k,): p(looked at) of each place by the log's propensity; of places beyond its pages, the last's."""
        store = self.scorer.assembly.data.store
        position, propensity = store.column("position"), store.column("propensity")
        total, count = np.bincount(position, weights=propensity), np.bincount(position)
        store.release()
        by_place = total / np.maximum(count, 1)
        return np.asarray(by_place[np.minimum(np.arange(k), len(by_place) - 1)], dtype=np.float64)

    # --- candidates --------------------------------------------------------------------------------------------

    @cached_property
    def _way(self) -> Candidates:
        """What fits the words, by their letters and by their meaning, and what is popular."""
        ways: dict[str, Candidates] = {"popular": Popular.of(self.scorer)}
        if isinstance(self.scorer.module.encoder, Encoder):
            ways |= {"lexical": Lexical.of(self.scorer), "semantic": Semantic.of(self.scorer, index="exact")}
        return Hybrid(ways, weights={"popular": 0.5} if len(ways) > 1 else None)

    def found(self, request: Requests) -> Integers:
        """(n, C): of what is on sale, the best by reciprocal rank fusion; the same whoever decides."""
        distinct, which = np.unique(request.query, return_inverse=True)
        asked = [Asked(str(self.world.queries["query"][q])) for q in distinct]
        deep = self._way.find(asked, min(4 * self.candidates, len(self.scorer.catalogue))).numbers[which]
        launched, popular = self.world.catalogue.launched, self.world.catalogue.by_popularity
        items = np.empty((len(request), self.candidates), dtype=np.int64)
        for row, (numbers, day) in enumerate(zip(deep, request.day, strict=True)):
            there = numbers[numbers >= 0]
            there = there[launched[there] <= day][: self.candidates]
            if len(there) < self.candidates:
                more = popular[(launched[popular] <= day) & ~np.isin(popular, there)]
                there = np.concatenate([there, more[: self.candidates - len(there)]])
            if len(there) < self.candidates:
                raise ConfigError(
                    f"candidates={self.candidates}: only {len(there)} items are on sale on day {day:.0f}; lower it."
                )
            items[row] = there
        return items

    # --- what the run says -------------------------------------------------------------------------------------

    def _scored(self, asked: Sequence[Asked], items: Integers) -> tuple[Floats, Floats]:
        """((n, C), (n, C)): p(click), p(click and purchase)."""
        click, both = self.rates
        if self.scorer.assembly.data.features:
            found = self.scorer.score(asked, list(items))
            return np.stack([of[click] for of in found]), np.stack([of[both] for of in found])
        p_click, p_both = np.empty(items.shape), np.empty(items.shape)
        words: dict[str, list[int]] = {}
        for row, one in enumerate(asked):
            words.setdefault(one.query, []).append(row)
        for query, rows in words.items():  # without features a page is a matter of its words alone
            distinct, place = np.unique(items[rows], return_inverse=True)
            (of,) = self.scorer.score([Asked(query)], [distinct])
            p_click[rows], p_both[rows] = (of[rate][place.reshape(len(rows), -1)] for rate in (click, both))
        return p_click, p_both

    @cached_property
    def rates(self) -> tuple[str, str]:
        """The names of p(click) and of p(click and purchase)."""
        return self.scorer.funnel[CLICK].rate, self.scorer.funnel[PURCHASE].joint_rate

    # --- what corrections depend on ----------------------------------------------------------------------------

    @cached_property
    def coordinates(self) -> NDArray[np.float32]:
        """(items, width) what corrections depend on: principal components of the run's item vectors, and of the fixed
        vectors that the log tells of items (`data.features.vectors`: pictures, say), whether the run reads them or not.
        """
        data = self.scorer.assembly.data
        offered = self.scorer.assembly.cfg.data.get("features") or {}
        sets = [np.asarray(data.store.vectors(name), np.float32) for name in offered.get("vectors") or ()]
        if isinstance(self.scorer.module.encoder, Encoder):
            sets.insert(0, self.scorer.item_vectors)
        none = np.zeros((len(self.scorer.catalogue), 0), np.float32)
        return np.concatenate([none, *(principal(vectors, self.components) for vectors in sets)], axis=1)

    def _features(self, items: Integers, prices: NDArray[np.float32]) -> Floats:
        """(n, C, 2 + width): 1, the price against the other candidates', the item's coordinates."""
        log = np.log(prices.astype(np.float64))
        price = (log - log.mean(axis=1, keepdims=True)) / (log.std(axis=1, keepdims=True) + 1e-9)
        return np.concatenate([np.ones((*items.shape, 1)), price[..., None], self.coordinates[items]], axis=-1)


def principal(vectors: NDArray[np.float32], components: int) -> NDArray[np.float32]:
    """(rows, components): principal components, scaled to mean 0 and deviation 1; fewer where there are no more."""
    centred = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0, dtype=np.float64)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(components, int((scale > 1e-6 * max(scale[0], 1e-30)).sum()))
    return np.asarray(left[:, :kept] * np.sqrt(len(vectors)), dtype=np.float32)


def labels_of(
    funnel: TaskFunnel, events: Mapping[str, NDArray[np.int8]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Each task's labels on rows with these events, and where it is observed.

    Raises:
        ConfigError: if a task is no event of the marketplace.
    """
    if unknown := [name for name in funnel.names if name not in events]:
        raise ConfigError(f"tasks.{unknown[0]}: the marketplace brings {', '.join(events)} only; train without it.")
    labels = {name: events[name].astype(np.float32) for name in funnel.names}
    return labels, {name: funnel.observed(labels, name).astype(np.float32) for name in funnel.names}
