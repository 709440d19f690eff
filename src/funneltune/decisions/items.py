"""What is on sale: the items of a run's log, with what ranking and people ask of them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data import AskedRows
from funneltune.errors import ConfigError


@dataclass(frozen=True)
class Items:
    """The items of a log, by their numbers.

    Args:
        rows: Of the run's log.
    """

    rows: AskedRows

    def __len__(self) -> int:
        """How many."""
        return self.rows.n_items

    @cached_property
    def keys(self) -> list[str]:
        """The log's identifiers."""
        return [str(key) for key in self.rows.store.table("items").column("key").to_pylist()]

    @cached_property
    def titles(self) -> list[str]:
        """Each item's text, as the backbone reads it; without texts its title, else its identifier."""
        store, texts = self.rows.store, self.rows.data.texts
        if "item" in texts:
            return store.text("items", texts["item"])
        return store.text("items", "{title}") if "title" in store.table("items").column_names else self.keys

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {key: number for number, key in enumerate(self.keys)}

    def number(self, key: str) -> int:
        """An item's number.

        Raises:
            ConfigError: if the log does not have it.
        """
        found = self._numbers.get(str(key))
        if found is None:
            near = difflib.get_close_matches(str(key), self.keys[:100_000], 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ConfigError(f"item={key!r} is none of the log's {len(self):,} items{hint}")
        return found

    @property
    def columns(self) -> list[str]:
        """What the log tells of items, by name."""
        return list(self.rows.store.table("items").column_names)

    def column(self, name: str) -> NDArray[Any]:
        """One of these columns, item by item.

        Raises:
            ConfigError: if the items have no such column.
        """
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; they have {', '.join(self.columns)}."
            raise ConfigError(f"{name!r} is no column of the log's items{hint}")
        return np.asarray(self.rows.store.table("items").column(name).to_pylist(), dtype=object)

    @cached_property
    def price(self) -> NDArray[np.float64] | None:
        """Prices: the items' own column, else each item's latest in the log (NaN where it was never shown); None where
        the log tells none.
        """
        if "price" in self.columns:
            return np.asarray(self.column("price"), dtype=np.float64)
        return self.rows.latest_price

    @cached_property
    def shown(self) -> NDArray[np.int64]:
        """Training impressions of each item."""
        return self._counted(None)

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """Training rows of each item on which the first binary task happened (clicks); impressions where none is."""
        binary = self.rows.store.funnel.binary
        return self._counted(binary[0].name if binary else None)

    def _counted(self, task: str | None) -> NDArray[np.int64]:
        data, found = self.rows.data, np.zeros(len(self), dtype=np.int64)
        for rows in data.store.row_parts(np.sort(data.requests("train"))):
            item = data.store.column("item")[rows]
            counted = item if task is None else item[data.store.column(task)[rows] == 1]
            found += np.bincount(counted, minlength=len(self))
        data.store.release()
        return found
