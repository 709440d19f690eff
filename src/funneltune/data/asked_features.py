"""What stands beside the texts of rows that were never logged: looked up, given, or what rows mostly are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.features import ENTITIES, FeatureColumns
from funneltune.errors import ConfigError

Integers = NDArray[np.int64]
Named = tuple[Integers, Sequence[str]]


@dataclass(frozen=True)
class AskedFeatures:
    """Features of asked rows by their names.

    Args:
        features: Of the log.
        columns: What each request tells of its rows (`Asked.columns`).
        users: Number of each request's shopper, -1 where the log does not know it; with its identifier.
        queries: Likewise of each request's words.
        times: Of the requests.
        owner: (rows,) the request of each row.
        item: (rows,) its item; the log's items, then `new` ones.
        new: Fields of items that the log does not have.
        latest_price: Of the log's items, NaN where there is none; None: the log tells no prices.
    """

    features: FeatureColumns
    columns: Sequence[Mapping[str, Any]]
    users: Named
    queries: Named
    times: NDArray[np.float64]
    owner: Integers
    item: Integers
    new: Sequence[Mapping[str, Any]]
    latest_price: NDArray[np.float64] | None

    @property
    def n_items(self) -> int:
        """Items of the log."""
        return int(self.features.store.table("items").num_rows)

    def of_rows(self, name: str, number: bool) -> NDArray[Any]:
        """Buckets of an id, or values of a number, row by row."""
        side, _, column = name.partition(".")
        found = self._looked_up(name, side, number)
        if side == "item" or not (column or side in ENTITIES):
            for j, fields in enumerate(self.new):
                key = "key" if name == "item" else column or name
                if fields.get(key) is not None:
                    found[self.item == self.n_items + j] = self._read(name, fields[key], number)
        for n, given in enumerate(self.columns):
            if name in given:
                found[self.owner == n] = self._read(name, given[name], number)
        return found

    def _looked_up(self, name: str, side: str, number: bool) -> NDArray[Any]:
        kind = np.float64 if number else np.int64
        if side == "item" and side in ENTITIES:
            known = np.where(self.item < self.n_items, self.item, -1)
            return self.features.of_entities(name, known, number).astype(kind)
        if side in ENTITIES:
            numbers, words = self.users if side == "user" else self.queries
            found = self.features.of_entities(name, numbers, number).astype(kind)
            if name == side and not number:  # an identifier that the log does not know has its own bucket
                found = np.where(numbers < 0, self.features.hashed(name, np.array(words, dtype=object)), found)
            return found[self.owner]
        if number and name == "time":
            return self.times[self.owner]
        if number and name == "price" and self.latest_price is not None:
            price = np.append(self.latest_price, np.nan)[np.minimum(self.item, self.n_items)]
            return np.where(np.isfinite(price), price, self.features.usual(name, number))
        if number and name == "position":
            return np.zeros(len(self.item))
        return np.full(len(self.item), self.features.usual(name, number), dtype=kind)

    def _read(self, name: str, value: Any, number: bool) -> NDArray[Any]:
        """What was given, one value or one per row."""
        given = np.atleast_1d(np.asarray(value))
        if not number:
            return self.features.hashed(name, given.astype(str).astype(object))
        try:
            read = given.astype(np.float64)
        except (TypeError, ValueError):
            read = np.array([np.nan])
        if not np.isfinite(read).all():
            raise ConfigError(f"{name}={value!r} must be a number, as the run reads it; leave it out or give one.")
        return read

    def vectors(self) -> NDArray[np.float32]:
        """(rows, width): the items' fixed vectors; of an item that the log does not have those of the item that it is
        like (`like`, a number), else the mean of all.
        """
        tables = [self.features.store.vectors(name) for name in self.features.needs.vectors]
        like = np.array([fields.get("like", -1) for fields in self.new], dtype=np.int64)
        number, fresh = self.item.copy(), self.item >= self.n_items
        number[fresh] = like[self.item[fresh] - self.n_items]
        parts = [
            np.where((number < 0)[:, None], table.mean(axis=0), np.asarray(table[np.maximum(number, 0)]))
            for table in tables
        ]
        return np.concatenate(parts, axis=1).astype(np.float32)
