"""What a log knows beside its texts, row by row: ids, numbers, fixed vectors, and what the shopper clicked before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.past import Past
from funneltune.data.store import LogStore
from funneltune.errors import ConfigError
from funneltune.schema import FeatureNeeds

Integers = NDArray[np.int64]
ENTITIES = {"query": "queries", "item": "items", "user": "users"}


@dataclass(frozen=True)
class FeatureColumns:
    """The columns that a `FeatureNeeds` asks for, of any rows of a log.

    A feature is named by its column in the log (`colour`, `position`), by an entity (`user`, `item`, `query`: its
    identifier), or by an entity's column (`item.brand`). Ids are hashed by their text, so that another file of the same
    shop finds the same buckets.

    Args:
        store: The log.
        needs: What is asked for.
        known: Which rows may appear in a history (a boolean per row of the log).
    """

    store: LogStore
    needs: FeatureNeeds
    known: NDArray[np.bool_]
    _buckets: dict[str, tuple[Integers, NDArray[Any] | None]] = field(default_factory=dict, repr=False)
    _numbers: dict[str, NDArray[np.floating]] = field(default_factory=dict, repr=False)
    """Per row of the log, or per entity where the name is an entity's column."""

    def __post_init__(self) -> None:
        """Look every name up once, so that a wrong one is told before training."""
        for name in self.needs.ids:
            self._buckets[name] = self._hashed(name)
        for name in self.needs.numbers:
            self._numbers[name] = self._number(name)
        _ = self._vectors
        if self.needs.history:
            _ = self._histories
            if self.needs.history_ids:
                self._buckets["item"] = self._hashed("item")

    def ids(self, rows: Integers) -> Integers:
        """(rows, ids): buckets."""
        return np.stack([self._of_rows(self._buckets[name], name, rows) for name in self.needs.ids], axis=1)

    def numbers(self, rows: Integers) -> NDArray[np.float32]:
        """(rows, numbers)."""
        return np.stack([self._number_of_rows(name, rows) for name in self.needs.numbers], axis=1).astype(np.float32)

    def vectors(self, rows: Integers) -> NDArray[np.float32]:
        """(rows, width): the fixed vectors of each row's item, side by side."""
        item = self.store.column("item")[rows]
        return np.concatenate([table[item] for table in self._vectors], axis=1)

    def history(self, rows: Integers) -> Integers:
        """(rows, events): item numbers, the latest first, -1 behind the last."""
        found: Integers = self._histories[self.store.column("request")[rows]]
        return found

    def history_buckets(self, items: Integers) -> Integers:
        """Buckets of item numbers; -1 stays -1."""
        return np.where(items < 0, -1, self._buckets["item"][0][np.maximum(items, 0)])

    def raw(self, rows: Integers) -> pd.DataFrame:
        """Ids as categories and numbers as they are: what a tree reads."""
        columns: dict[str, Any] = {}
        for name in self.needs.ids:
            values, code = self._coded(name)
            columns[name] = pd.Categorical(values[code[rows]], categories=np.unique(values))
        for name in self.needs.numbers:
            columns[name] = self._number_of_rows(name, rows)
        return pd.DataFrame(columns)

    def of_entities(self, name: str, numbers: Integers, as_number: bool) -> NDArray[Any]:
        """An entity's feature (`user`, `item.brand`) by the entities' numbers: values of a number, or buckets of an id.

        What no entity has (-1) is the entities' median, or the bucket of the empty text.
        """
        if as_number:
            values = self._numbers[name]
            return np.where(numbers < 0, np.median(values), values[np.maximum(numbers, 0)])
        absent = self.hashed(name, np.array([""]))
        return np.where(numbers < 0, absent, self._buckets[name][0][np.maximum(numbers, 0)])

    def usual(self, name: str, as_number: bool) -> float | int:
        """What a row's column mostly is: the median of its numbers, or the bucket of its most frequent value."""
        if as_number:
            return float(np.median(self._numbers[name]))
        buckets, code = self._buckets[name]
        assert code is not None
        values, counts = np.unique(code, return_counts=True)
        return int(buckets[values[counts.argmax()]])

    # --- where a name leads ------------------------------------------------------------------------------------

    def _coded(self, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """The distinct values of an id, as text, and each row's number among them: of a categorical column, the log's
        own words and numbers, which lie on disk.
        """
        side, _, column = name.partition(".")
        store = self.store
        if side in ENTITIES:
            of_entity = self._entity(name, side, column or "key").astype(str)
            values, number = np.unique(of_entity, return_inverse=True)
            return values, number[store.column(side)]
        if not self._has(name):
            raise ConfigError(self._unknown("ids", name))
        codes = store.column(name)
        words = store.manifest["notes"].get("categories", {}).get(name)
        if words is not None:
            return np.asarray(words, dtype=object).astype(str), codes
        values, code = np.unique(codes, return_inverse=True)
        return values.astype(str), code

    def _has(self, name: str) -> bool:
        """Whether the log knows a column of its impressions, and did not make it up."""
        return self.store.has(name) and name not in self.store.manifest["notes"].get("unknown", [])

    def _hashed(self, name: str) -> tuple[Integers, NDArray[Any] | None]:
        """Buckets by number, and the number of each row where it is not an entity's own."""
        side, _, column = name.partition(".")
        if side in ENTITIES:
            return self.hashed(name, self._entity(name, side, column or "key").astype(str)), None
        values, code = self._coded(name)
        return self.hashed(name, values), code

    def _of_rows(self, hashed: tuple[Integers, NDArray[Any] | None], name: str, rows: Integers) -> Integers:
        buckets, code = hashed
        found: Integers = buckets[self.store.column(name.partition(".")[0])[rows] if code is None else code[rows]]
        return found

    def hashed(self, name: str, values: NDArray[Any]) -> Integers:
        """Buckets of an id's values, as text, whether the log has them or not."""
        salted = np.array([f"{name}\x1f{value}" for value in values], dtype=object)
        return (pd.util.hash_array(salted, categorize=False) % np.uint64(self.needs.buckets)).astype(np.int64)

    def _number_of_rows(self, name: str, rows: Integers) -> NDArray[np.floating]:
        side, _, column = name.partition(".")
        place = self.store.column(side)[rows] if column and side in ENTITIES else rows
        return self._numbers[name][place]

    def _number(self, name: str) -> NDArray[np.floating]:
        side, _, column = name.partition(".")
        if column and side in ENTITIES:
            values = pd.to_numeric(pd.Series(self._entity(name, side, column)), errors="coerce").to_numpy(np.float64)
            if not np.isfinite(values).all():
                raise ConfigError(f"features.numbers: {name!r} is not a number everywhere; use it as an id.")
            return values
        if not self._has(name):
            raise ConfigError(self._unknown("numbers", name))
        return self.store.column(name)

    def _entity(self, name: str, side: str, column: str) -> NDArray[Any]:
        table = self.store.table(ENTITIES[side])
        if column not in table.column_names:
            raise ConfigError(self._unknown("ids or numbers", name))
        return np.asarray(table.column(column).to_pylist(), dtype=object)

    def _unknown(self, kind: str, name: str) -> str:
        there = [c for c in self.store.table("impressions").column_names if not c.startswith("oracle_")]
        there = [c for c in there if c not in (*self.store.funnel.names, "request") and self._has(c)]
        there += [f"{side}.{c}" for side, table in ENTITIES.items() for c in self.store.table(table).column_names]
        near = get_close_matches(name, there, 1)
        return f"features.{kind}: the log has no {name!r}; " + (
            f"did you mean {near[0]!r}?" if near else f"there are {', '.join(there)}."
        )

    @cached_property
    def _vectors(self) -> list[NDArray[np.float32]]:
        return [self.store.vectors(name) for name in self.needs.vectors]

    @cached_property
    def past(self) -> Past:
        """What shoppers did, as far as rows may be remembered."""
        return Past.of(self.store, self.known)

    @cached_property
    def _histories(self) -> Integers:
        """(requests, events): items with the first binary task's label, of the same user, strictly before a request."""
        store, past = self.store, self.past
        starts = store.request_offsets[:-1]
        user = store.column("user")[starts].astype(np.int64)
        return past.before(user, store.column("time")[starts], self.needs.history)


def training_numbers(columns: FeatureColumns | None, rows: Integers) -> Mapping[str, NDArray[np.float32]]:
    """Each number on the training rows: scales and quantiles are fitted to these alone."""
    if columns is None or not columns.needs.numbers:
        return {}
    values = columns.numbers(rows)
    return {name: values[:, index] for index, name in enumerate(columns.needs.numbers)}
