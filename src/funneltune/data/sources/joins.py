"""Side tables: columns that a log's rows share by a key, read once and looked up chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.collected import SEPARATOR
from funneltune.data.sources.reading import TableFiles
from funneltune.data.sources.roles import Roles
from funneltune.errors import ConfigError, DataError

KEYS = {"path", "by", "columns", "rename"}


@dataclass(frozen=True)
class Join:
    """A table beside the log.

    Args:
        files: The table.
        by: Columns that tell its rows apart, and that the log has too.
        columns: Columns that join the log.
        place: Of the join in `data.source.joins`.
        where: Column of `by` -> values: other rows are not held, for no row of the log asks for them.
        persons: Columns whose values no message tells.
    """

    files: TableFiles
    by: tuple[str, ...]
    columns: tuple[str, ...]
    place: int
    where: Mapping[str, tuple[str, ...]]
    persons: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, node: Any, place: int, main: TableFiles, roles: Roles) -> Join:
        """`{path: products.parquet, by: [product_id], columns: [title], rename: {name: title}}`; a path that is not
        absolute begins where the log lies, and the file is read like the log's.
        """
        here = f"data.source.joins[{place}]"
        if not isinstance(node, Mapping) or not {"path", "by", "columns"} <= set(node) or set(node) - KEYS:
            raise ConfigError(
                f"{here}={node!r} must be {{path: FILE, by: [..], columns: [..]}}, with rename or without."
            )
        by, columns = _names(node["by"]), _names(node["columns"])
        if not by or not columns or set(by) & set(columns):
            raise ConfigError(
                f"{here}: by={list(by)} and columns={list(columns)} must name a column each, none in both."
            )
        folder = main.path if main.path.is_dir() else main.path.parent
        path, rename = folder / str(node["path"]), dict(node.get("rename") or {})
        files = replace(main, path=path, names=None, words={}, rename=rename, named=f"{here}.path")
        where = {column: roles.where[column] for column in by if column in roles.where}
        return cls(files, by, columns, place, where, roles.persons)

    def describe(self) -> str:
        """What decides the joined values."""
        return repr((self.files.digest(), self.by, self.columns, self.files.rename))

    def check(self, found: Sequence[str]) -> list[str]:
        """Faults: columns that the log or the side table does not have, or both. `found`: the log's columns."""
        where, file = f"data.source.joins[{self.place}]", self.files.path.name
        faults = [f"{where}: the log has no column {c!r}{_near(c, found, self.by)}" for c in self.by if c not in found]
        header = self.files.header()
        faults += [
            f"{where}: {file} has no column {c!r}{_near(c, header, (*self.by, *self.columns))}"
            for c in (*self.by, *self.columns)
            if c not in header
        ]
        faults += [
            f"{where}: column {c!r} is in the log too; give it another name, rename: {{{c}: NAME}}"
            for c in self.columns
            if c in found
        ]
        return faults

    def uncovered(self, fill: Mapping[str, str]) -> list[str]:
        """Columns that a row without a match would lack."""
        return [column for column in self.columns if column not in fill]

    def joined(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
        """A chunk with the columns, and which of its rows have no match: their columns are empty."""
        index, columns = self._table
        place = np.asarray(index.get_indexer(pd.Index(_key(frame, self.by))))
        lost = place < 0
        found = columns.take(np.maximum(place, 0)).reset_index(drop=True)
        found.index = frame.index
        if lost.any():
            found.loc[lost, :] = pd.NA
        return pd.concat([frame, found], axis=1), lost

    @cached_property
    def _table(self) -> tuple[pd.Index[Any], pd.DataFrame]:
        """The keys, and the columns in their order."""
        keys, parts = [], []
        for frame in self.files.chunks([*self.by, *self.columns]):
            kept = np.ones(len(frame), dtype=bool)
            for column, values in self.where.items():
                kept &= frame[column].isin(values).to_numpy(bool)
            keys.append(_key(frame[kept], self.by))
            parts.append(frame.loc[kept, list(self.columns)])
        if not sum(map(len, keys)):
            raise DataError(f"data.source.joins[{self.place}]: {self.files.path.name} has no rows to join.")
        index = pd.Index(np.concatenate(keys))
        if not index.is_unique:
            twice = str(index[index.duplicated()][0]).replace(SEPARATOR, ", ")
            value = " the same" if self.persons & set(self.by) else f" = {twice!r}"
            raise DataError(
                f"data.source.joins[{self.place}]: {self.files.path.name} has {', '.join(self.by)}{value} in two "
                "rows; a key tells the rows apart, name further columns in `by`, or drop copies."
            )
        return index, pd.concat(parts, ignore_index=True)


def parse_joins(nodes: Any, main: TableFiles, roles: Roles) -> tuple[Join, ...]:
    """`data.source.joins`.

    Raises:
        ConfigError: if it is no list of joins, or `where` asks for a joined column.
    """
    if isinstance(nodes, (str, Mapping)):
        raise ConfigError(f"data.source.joins={nodes!r} must be a list of {{path: FILE, by: [..], columns: [..]}}.")
    joins = tuple(Join.parse(node, place, main, roles) for place, node in enumerate(nodes or ()))
    for join in joins:
        if late := sorted(set(join.columns) & set(roles.where)):
            raise ConfigError(
                f"data.source.where.{late[0]}: rows are selected before data.source.joins; use a column of the log."
            )
    return joins


def _key(frame: pd.DataFrame, by: Sequence[str]) -> NDArray[Any]:
    key = frame[by[0]].fillna("")
    for column in by[1:]:
        key = key + SEPARATOR + frame[column].fillna("")
    return np.asarray(key.to_numpy(dtype=object))


def _names(node: Any) -> tuple[str, ...]:
    return (node,) if isinstance(node, str) else tuple(str(name) for name in node or ())


def _near(name: str, among: Sequence[str], wanted: Sequence[str]) -> str:
    near = get_close_matches(name, list(among), 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    known = set(wanted) & set(among)  # without one the first row may be no header, and tell who asked what
    return (
        f"; there are {', '.join(among)}" if known else f"; its first row names none that is asked for ({len(among)})"
    )
