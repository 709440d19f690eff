"""Training rows weighted by their group: a small seller, brand or shopper segment counts more than its share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.features import ENTITIES
from funneltune.data.sampling import Requests
from funneltune.data.store import LogStore
from funneltune.errors import ConfigError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
KEYS = ("column", "power", "most")


@dataclass(frozen=True)
class GroupWeights:
    """`data.sampling.groups`: a row counts in proportion to (its group's share of training rows)^-power.

    Weights are scaled to a mean of 1 over the training rows, so that steps are as long as without them. At power 1
    every group adds as much to the loss, whatever its size; 0.5 is halfway; at 0 rows count alike.

    Args:
        column: Of the items or shoppers: `item.seller`, `user.segment`.
        power: See above.
        most: What a row counts at most, before scaling, in rows of the largest group.
    """

    column: str
    power: float = 1.0
    most: float = 20.0

    @classmethod
    def parse(cls, node: Any) -> GroupWeights | None:
        """`{column: item.seller, power: 1, most: 20}`; None where there is none.

        Raises:
            ConfigError: naming the first thing that is wrong.
        """
        if node is None:
            return None
        if not isinstance(node, Mapping) or set(node) - set(KEYS) or not node.get("column"):
            raise ConfigError(
                f"data.sampling.groups={node!r} must be null or a mapping of {', '.join(KEYS)}, as "
                "{column: item.seller, power: 1}."
            )
        found = cls(str(node["column"]), node.get("power", cls.power), node.get("most", cls.most))
        for name, low, high in (("power", 0, 1), ("most", 1, 1e6)):
            value = getattr(found, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ConfigError(f"data.sampling.groups.{name}={value!r} must lie in [{low}, {high:g}].")
        if found.column.partition(".")[0] not in ENTITIES or not found.column.partition(".")[2]:
            raise ConfigError(
                f"data.sampling.groups.column={found.column} must be a column of the items, shoppers or queries, as "
                "item.seller or user.segment."
            )
        return found

    def of(self, store: LogStore, train: Requests) -> EntityWeights:
        """What rows of a log count.

        Raises:
            ConfigError: if the log has no such column.
        """
        side, _, name = self.column.partition(".")
        table = store.table(ENTITIES[side])
        there = [one for one in table.column_names if one != "key"]
        if name not in there:
            near = get_close_matches(name, there, 1)
            hint = f"; did you mean {side}.{near[0]}?" if near else f"; there are {', '.join(there) or 'none'}."
            raise ConfigError(f"data.sampling.groups.column={self.column}: the log has no such column{hint}")
        words = np.asarray(["" if one is None else str(one) for one in table.column(name).to_pylist()])
        groups, code = np.unique(words, return_inverse=True)
        rows = np.zeros(len(groups))
        for part in store.row_parts(np.sort(train)):
            rows += np.bincount(code[store.column(side)[part]], minlength=len(groups))
        store.release()
        weight = np.minimum((np.maximum(rows, 1.0) / rows.max()) ** -self.power, self.most)
        return EntityWeights(side, (weight * rows.sum() / (weight * rows).sum())[code])


@dataclass(frozen=True)
class EntityWeights:
    """What a row counts, by the item, shopper or query that it is of."""

    side: str
    weight: Floats

    def rows(self, store: LogStore, rows: Integers) -> Floats:
        """Of some rows of the log."""
        return np.asarray(self.weight[store.column(self.side)[rows]])
