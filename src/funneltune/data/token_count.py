"""How many tokens a batch would have the backbone read, without making it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from funneltune.data.collate import Collator

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class TokenCount:
    """Counts the tokens of unique texts, special tokens included, as requests are added one by one."""

    collator: Collator

    @cached_property
    def _lengths(self) -> Integers:
        """Of every query, then of every item, where each is a text of its own."""
        queries, items = len(self.collator.queries), len(self.collator.items)
        return self.collator.token_lengths(np.arange(queries + items))

    def __call__(self, requests: Integers) -> Integers:
        """The tokens of the first request, the first two, ..., all of them."""
        rows = self.collator.store.rows_of(requests)
        texts = self._texts(rows)
        numbers, row = texts.ravel(), np.repeat(np.arange(len(rows)), texts.shape[1])
        if self.collator.unique:
            numbers, first = np.unique(numbers, return_index=True)
            row = row[first]
        row, numbers = row[numbers >= 0], numbers[numbers >= 0]
        cross = self.collator.interaction == "cross"
        lengths = self.collator.token_lengths(numbers) if cross else self._lengths[numbers]
        of_row = np.bincount(row, weights=lengths, minlength=len(rows)).astype(np.int64)
        ends = self.collator.store.request_lengths[requests].cumsum() - 1
        return np.asarray(of_row.cumsum()[ends])

    def _texts(self, rows: Integers) -> Integers:
        """(rows, texts): the numbers of the texts that each row reads; -1: none."""
        collator = self.collator
        query, item = (collator.store.column(name)[rows].astype(np.int64) for name in ("query", "item"))
        if collator.interaction == "none":
            return np.full((len(rows), 1), -1)
        if collator.interaction == "cross":
            return np.asarray(query * len(collator.items) + item)[:, None]
        n = len(collator.queries)
        features = collator.features
        if not (features and features.needs.history and not features.needs.history_ids):
            return np.column_stack([query, item + n])
        past = features.history(rows)
        return np.column_stack([query, item + n, np.where(past >= 0, past + n, -1)])
