"""What happened where training saw something like it.

Legend: N training rows; text vectors are W wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.data import Asked
from funneltune.decisions.explanations.explanation import Evidence, Neighbour
from funneltune.decisions.scorer import Scorer

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
COUNTED, SHOWN = 50, 8
"""Nearest impressions that shares are over, and that are shown."""
NEAR_ITEMS, NEAR_ROWS, NEAR_QUERIES = 200, 5000, 128
"""How far the search goes: rows of the nearest items, and queries whose vectors are computed for one explanation."""
SAMPLED = 20_000
"""Training rows that are compared where there are no texts to look by."""
KEPT = 50_000
"""Query vectors that are remembered."""
TEXTS = "mean cosine of the query's and the item's vectors"
FEATURES = "cosine of what the run's features make of a row, each in units of its spread"


class TrainingEvidence:
    """Looks up the training impressions that are nearest to a request and an item, as the run's encoder sees them.

    With texts: rows of the nearest items by their vectors; of these, the rows whose queries share most words; of
    these, the nearest by both vectors. Without: an evenly spread sample of the training rows, by their features.

    Args:
        scorer: Of the run.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.data = scorer.assembly.data
        self.reads = self.data.interaction != "none" and "item" in self.data.texts
        self._kept: dict[int, NDArray[np.float32]] = {}

    def of(self, asked: Asked, item: int, but: int | None = None) -> Evidence:
        """The nearest impressions. `but`: a row of the log that is not among them, being the one that is explained."""
        rows, similarity = self._by_texts(asked.query, item) if self.reads else self._by_features(asked, item)
        if but is not None:
            rows, similarity = rows[rows != but], similarity[rows != but]
        order = np.argsort(-similarity, kind="stable")[:COUNTED]
        rows, similarity = rows[order], similarity[order]
        happened, could = self._told(rows)
        store, funnel = self.data.store, self.data.funnel
        nearest = tuple(
            Neighbour(
                similarity=round(float(similarity[n]), 4),
                query=self.words[int(store.column("query")[row])],
                item=self.scorer.catalogue.keys[int(store.column("item")[row])],
                title=self.scorer.catalogue.titles[int(store.column("item")[row])],
                happened={task.name: bool(happened[task.name][n]) for task in funnel.binary},
            )
            for n, row in enumerate(rows[:SHOWN])
        )
        near = _counts(self.scorer, happened, could)
        return Evidence(TEXTS if self.reads else FEATURES, nearest, near, self.everywhere)

    # --- the log -----------------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> Integers:
        return self.data.rows("train")

    @cached_property
    def _by_item(self) -> tuple[Integers, Integers]:
        """Training rows sorted by item, and where each item's begin."""
        item = self.data.store.column("item")[self._rows]
        order = np.argsort(item, kind="stable")
        return self._rows[order], np.searchsorted(item[order], np.arange(len(self.scorer.catalogue) + 1))

    @cached_property
    def words(self) -> list[str]:
        """The words of each query of the log."""
        store, texts = self.data.store, self.data.texts
        if "query" in texts:
            return store.text("queries", texts["query"])
        table = store.table("queries")
        return [str(word) for word in table.column("query" if "query" in table.column_names else "key").to_pylist()]

    @cached_property
    def everywhere(self) -> dict[str, tuple[int, int]]:
        """How often each rate's event happened on the training rows, and on how many it could."""
        happened, could = self._told(_spread(self._rows, 10 * SAMPLED))
        return _counts(self.scorer, happened, could)

    def _told(self, rows: Integers) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.bool_]]]:
        """Task -> rows on which it happened with all that it is conditional on, and on which it could."""
        labels, observed = self.data.told(rows)
        names = [task.name for task in self.data.funnel.binary]
        return {n: observed[n] & (labels[n] == 1) for n in names}, {n: observed[n] for n in names}

    def other_query(self, asked: Asked, item: int) -> str | None:
        """Under which other words this item was mostly clicked in training, else shown; None: under no others."""
        rows, starts = self._by_item
        own = rows[starts[item] : starts[item + 1]]
        happened, _ = self._told(own)
        first = self.data.funnel.binary[0].name
        query = self.data.store.column("query")[own].astype(np.int64)
        for some in (query[happened[first]], query):
            numbers, counts = np.unique(some, return_counts=True)
            for number in numbers[np.argsort(-counts, kind="stable")]:
                words = str(self.words[number])
                if words.strip() and words != asked.query:
                    return words
        return None

    # --- by texts ----------------------------------------------------------------------------------------------

    @cached_property
    def _items(self) -> NDArray[np.float32]:
        """(items, W): unit vectors."""
        return _unit(np.asarray(self.scorer.item_vectors, dtype=np.float32))

    def _by_texts(self, words: str, item: int) -> tuple[Integers, Floats]:
        cosine = self._items @ self._items[item]
        near = np.argsort(-cosine, kind="stable")[:NEAR_ITEMS]
        rows, starts = self._by_item
        some = np.concatenate([rows[starts[one] : starts[one + 1]] for one in near])[:NEAR_ROWS]
        query, of_item = self.data.store.column("query")[some].astype(np.int64), self.data.store.column("item")[some]
        numbers, place = np.unique(query, return_inverse=True)
        shared = np.array([_overlap(words, self.words[number]) for number in numbers])
        best = np.zeros(len(numbers))
        np.maximum.at(best, place, shared[place] + cosine[of_item])
        chosen = np.argsort(-best, kind="stable")[:NEAR_QUERIES]
        kept = np.isin(place, chosen)
        like = np.full(len(numbers), -1.0)
        like[chosen] = self._query_vectors(numbers[chosen]) @ _unit(self.scorer.query_vectors([words]))[0]
        return some[kept], ((like[place] + cosine[of_item]) / 2)[kept].astype(np.float64)

    def _query_vectors(self, numbers: Integers) -> NDArray[np.float32]:
        """(numbers, W): unit vectors of queries of the log; those seen before are remembered."""
        new = [int(number) for number in numbers if int(number) not in self._kept]
        if len(self._kept) + len(new) > KEPT:
            self._kept, new = {}, [int(number) for number in numbers]
        if new:
            vectors = _unit(self.scorer.query_vectors([self.words[number] for number in new]))
            self._kept.update(zip(new, vectors, strict=True))
        if not len(numbers):
            return np.zeros((0, self._items.shape[1]), dtype=np.float32)
        return np.stack([self._kept[int(number)] for number in numbers])

    # --- by features -------------------------------------------------------------------------------------------

    @cached_property
    def _sample(self) -> tuple[Integers, NDArray[np.float32], NDArray[np.float32]]:
        """Sampled training rows, the spread of each feature over them, and their unit vectors in its units."""
        rows = _spread(self._rows, SAMPLED)
        found = np.concatenate([self._represented(batch) for _, batch in self.data.batches(rows)])
        spread = np.where((by := found.std(axis=0)) > 0, by, 1.0).astype(np.float32)
        return rows, spread, _unit((found / spread).astype(np.float32))

    @torch.inference_mode()
    def _represented(self, batch: Any) -> NDArray[np.float32]:
        module = self.scorer.module
        inputs = module.inputs(batch, module.encoder.views(batch.texts))
        distinct = {id(tensor): tensor for tensor in inputs.values()}
        return torch.cat(list(distinct.values()), dim=1).float().numpy()

    def _by_features(self, asked: Asked, item: int) -> tuple[Integers, Floats]:
        rows, spread, vectors = self._sample
        own = self._represented(self.scorer.batch([asked], [np.array([item])]))
        return rows, (vectors @ _unit((own / spread).astype(np.float32))[0]).astype(np.float64)


def _counts(
    scorer: Scorer, happened: Mapping[str, NDArray[np.bool_]], could: Mapping[str, NDArray[np.bool_]]
) -> dict[str, tuple[int, int]]:
    """Rate -> (on how many rows, of how many)."""
    found: dict[str, tuple[int, int]] = {}
    for task in scorer.funnel.binary:
        times = int(happened[task.name].sum())
        found[task.rate] = (times, int(could[task.name].sum()))
        if task.given:
            found[task.joint_rate] = (times, len(happened[task.name]))
    return found


def _spread(rows: Integers, most: int) -> Integers:
    """At most so many of the rows, evenly."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _overlap(a: str, b: str) -> float:
    """Shared words over all words (Jaccard); of texts without blanks, shared characters."""
    one, two = (set(text.lower().split()) for text in (a, b))
    if len(one) == 1 and len(two) == 1:
        one, two = set(a.lower()), set(b.lower())
    return len(one & two) / max(len(one | two), 1)
