"""Slices: columns by whose values an evaluation is cut, as words that read well."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.features import ENTITIES
from funneltune.data.shown import hides_field
from funneltune.data.splits import Requests
from funneltune.data.store import LogStore
from funneltune.errors import DataError

Integers = NDArray[np.int64]

AUTOMATIC = ("item_cold", "user_cold", "query_length", "price_band", "item.category")
"""Slices that every log gets which has what they need."""
PRICE_BANDS = ("low", "middle-low", "middle-high", "high")
MOST = 20
"""Values of a categorical column, the most frequent in training, that are slices of their own."""
OTHER = "other"
PRICES = 1_000_000
"""Training rows, evenly apart, whose prices are enough for quartiles."""
BY_CHARACTER = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Kana and Han: scripts that put no space between words."""


@dataclass(frozen=True)
class Slices:
    """The slices of a log.

    `item_cold` and `user_cold` are 1 where no training row shows the item, or is of the shopper; `query_length` counts
    words (of Han and kana, characters): 1, 2, 3-4, 5+; `price_band` cuts at the quartiles of the training rows' prices;
    a categorical column (`device`, `item.category`, `user.segment`) has the 20 values that are most frequent in
    training, and `other`. Any other column of the log is taken as it is.

    Args:
        store: The log.
        named: Slices that the user names: columns of the log or of its entities, or automatic ones. All must be there.
        query_text: The template of query texts; None where the log has no texts.
        train: The training requests; None: nothing is known of training, and only named columns are slices.
    """

    store: LogStore
    named: tuple[str, ...] = ()
    query_text: str | None = None
    train: Requests | None = None

    def __post_init__(self) -> None:
        """Raises DataError for a named slice that the log does not have, or that would show what was asked."""
        for name in self.named:
            if hides_field(self.store, self.query_text, name):
                raise DataError(
                    f"data.slices: {name!r} holds words of queries, which data.pseudonyms hides; remove it."
                )

            if not (self._is_there(name) or self._is_column(name)):
                there = [*(one for one in AUTOMATIC if self._is_there(one)), *self._columns()]
                near = get_close_matches(name, there, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(dict.fromkeys(there))}."
                raise DataError(f"data.slices: the log has no column {name!r} and nothing to make it of; {hint}")

    @property
    def names(self) -> tuple[str, ...]:
        """Automatic ones that the log has what they need for, then the named."""
        return tuple(dict.fromkeys([*(name for name in AUTOMATIC if self._is_there(name)), *self.named]))

    def columns(self, rows: Integers) -> dict[str, NDArray[Any]]:
        """Each slice's value of some rows: 0 or 1, words, or a column's own values."""
        return {name: self._values(name, rows) for name in self.names}

    def telling(self, columns: Mapping[str, NDArray[Any]]) -> list[str]:
        """The slices that are worth measuring: the named, and automatic ones with two values or more."""
        return [name for name in self.names if name in self.named or len(set(columns[name].tolist())) > 1]

    # --- what there is -----------------------------------------------------------------------------------------

    def _is_there(self, automatic: str) -> bool:
        if automatic == "query_length":
            return self.query_text is not None and self.train is not None
        if automatic == "item.category":
            return self.train is not None and "category" in self.store.table("items").column_names
        needs_price = automatic == "price_band"
        return automatic in AUTOMATIC and self.train is not None and (not needs_price or self.store.has("price"))

    def _is_column(self, name: str) -> bool:
        return name in self._columns()

    def _columns(self) -> list[str]:
        own = [name for name in self.store.table("impressions").column_names if not name.startswith("oracle_")]
        return own + [
            f"{side}.{name}"
            for side, table in ENTITIES.items()
            for name in self.store.table(table).column_names
            if name != "key"
        ]

    # --- their values ------------------------------------------------------------------------------------------

    def _values(self, name: str, rows: Integers) -> NDArray[Any]:
        if name in self.named and self.store.has(name):  # the log's own column, whatever it is called
            return self._of_impressions(name, rows)
        if name in ("item_cold", "user_cold"):
            side = name.removesuffix("_cold")
            seen = self._seen[side][self.store.column(side)[rows]]
            return np.where(seen, 0, 1).astype(np.int8)
        if name == "query_length":
            return np.asarray(self._query_lengths[self.store.column("query")[rows]])
        if name == "price_band":
            band = np.searchsorted(self._quartiles, self.store.column("price")[rows], side="left")
            return np.asarray(np.asarray(PRICE_BANDS, dtype=object)[band])
        side = name.partition(".")[0]
        return np.asarray(self._words[name][self.store.column(side)[rows]])

    def _of_impressions(self, name: str, rows: Integers) -> NDArray[Any]:
        values = self.store.column(name)[rows]
        return np.asarray(self._words[name][values] if name in self._words else values)

    def _parts(self) -> Iterator[Integers]:
        """The training rows, so many at a time; the whole log's where there is no training."""
        return self.store.row_parts(np.arange(self.store.n_requests) if self.train is None else self.train)

    @cached_property
    def _seen(self) -> dict[str, NDArray[np.bool_]]:
        """Items and users that a training row has."""
        seen = {side: np.zeros(self.store.table(f"{side}s").num_rows, dtype=bool) for side in ("item", "user")}
        for part in self._parts():
            for side, known in seen.items():
                known[self.store.column(side)[part]] = True
        return seen

    @cached_property
    def _query_lengths(self) -> NDArray[Any]:
        assert self.query_text is not None
        return np.array([length_band(text) for text in self.store.text("queries", self.query_text)], dtype=object)

    @cached_property
    def _quartiles(self) -> NDArray[np.float64]:
        assert self.train is not None
        rows = self.store.request_lengths[self.train].sum()
        some = self.train[:: max(1, int(rows) // PRICES)]
        prices = np.concatenate([self.store.column("price")[part] for part in self.store.row_parts(some)])
        return np.asarray(np.nanquantile(prices.astype(np.float64), (0.25, 0.5, 0.75)))

    @cached_property
    def _words(self) -> dict[str, NDArray[Any]]:
        """Of each categorical slice: the word of each code, or of each entity."""
        known = self.store.manifest["notes"].get("categories", {})
        found: dict[str, NDArray[Any]] = {}
        for name in self.names:
            side, _, column = name.partition(".")
            if name in known:
                found[name] = self._most_frequent(np.asarray(known[name], dtype=object), name)
            elif column and side in ENTITIES:
                values = self.store.table(ENTITIES[side]).column(column).to_pylist()
                found[name] = self._most_frequent(np.asarray(values, dtype=object), side)
        return found

    def _most_frequent(self, words: NDArray[Any], pointer: str) -> NDArray[Any]:
        """The words, those that few training rows point to replaced by `other`."""
        spelt = [readable(word) for word in words.tolist()]
        counts = np.zeros(len(spelt), dtype=np.int64)
        for part in self._parts():
            counts += np.bincount(self.store.column(pointer)[part], minlength=len(spelt))
        total: Counter[str] = Counter()
        for word, count in zip(spelt, counts.tolist(), strict=True):
            total[word] += count
        if len(total) <= MOST + 1:
            return np.asarray(spelt, dtype=object)
        kept = set(sorted(total, key=lambda word: (-total[word], word))[:MOST])
        return np.asarray([word if word in kept else OTHER for word in spelt], dtype=object)


def length_band(text: str) -> str:
    """Words of a text in bands, each character of Han and kana a word: 0, 1, 2, 3-4, 5+."""
    count = len(BY_CHARACTER.findall(text)) + len(BY_CHARACTER.sub(" ", text).split())
    if count <= 2:
        return str(count)
    return "3-4" if count <= 4 else "5+"


def readable(word: Any) -> str:
    """A value as a metric's name holds it: brackets, which close such a name, are made round."""
    return str("" if word is None else word).replace("[", "(").replace("]", ")").strip() or "none"
