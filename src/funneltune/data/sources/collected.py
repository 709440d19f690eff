"""What one pass over a table leaves: integers per row, and the text of each entity once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.codes import Codes
from funneltune.errors import DataError

SEPARATOR, FILE_ROW = "\x1f", "row"


@dataclass
class Collected:
    """What one pass over the file leaves: integers per row, and the text of each entity once."""

    codes: dict[str, Codes] = field(default_factory=lambda: {k: Codes() for k in ("request", "user", "query", "item")})
    texts: dict[str, list[pd.DataFrame]] = field(default_factory=lambda: {"query": [], "item": []})
    vectors: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    categories: dict[str, Codes] = field(default_factory=dict)
    columns: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    rows: int = 0
    read: int = 0
    """Rows of the file so far, those outside `where` included."""
    offset: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Of the chunk's rows, their numbers in the file: messages name them."""

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Append a chunk of a column."""
        self.columns.setdefault(name, []).append(values)

    def count(self, note: str, key: str, rows: int) -> None:
        """Add to a count of the store's notes."""
        if rows:
            self.notes.setdefault(note, {})[key] = self.notes.get(note, {}).get(key, 0) + rows

    def entity(self, side: str) -> dict[str, Any]:
        """`key` and the texts of queries or items, one entry each."""
        texts = pd.concat(self.texts[side], ignore_index=True)
        return {"key": self.codes[side].keys, **{name: texts[name].tolist() for name in texts.columns}}

    def whole(self) -> dict[str, NDArray[Any]]:
        """The columns over all chunks."""
        return {name: np.concatenate(parts) for name, parts in self.columns.items()}


def parsed(name: str, texts: Sequence[str]) -> NDArray[np.float32]:
    """(items, width) from numbers between spaces or commas; an item without a vector has zeros."""
    rows = [np.array(text.strip("[]() ").replace(",", " ").split(), dtype=str) for text in texts]
    widths = {len(row) for row in rows if len(row)}
    if len(widths) != 1:
        raise DataError(
            f"data.source.vectors.{name} holds vectors of {sorted(widths) or 'no'} numbers; all must be equally long."
        )
    found = np.zeros((len(rows), widths.pop()), dtype=np.float32)
    for place, row in enumerate(rows):
        if len(row):
            try:
                found[place] = row.astype(np.float32)
            except ValueError:
                raise DataError(f"data.source.vectors.{name} holds {row[0]!r}...; it must be numbers.") from None
    if not np.isfinite(found).all():
        raise DataError(f"data.source.vectors.{name} holds a number that is not finite; mend the vectors.")
    return found


def in_request_order(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The rows sorted by request, requests numbered anew from 0, and positions within them where none are given."""
    order = np.argsort(columns["request"], kind="stable")
    found = {name: values[order] for name, values in columns.items()}
    found["request"] = np.cumsum(np.diff(found["request"], prepend=found["request"][0]) != 0)
    if "position" not in found:
        starts = np.flatnonzero(np.diff(found["request"], prepend=-1))
        lengths = np.diff(np.append(starts, len(found["request"])))
        found["position"] = np.arange(len(found["request"])) - np.repeat(starts, lengths)
    found["position"] = found["position"].astype(np.int16)
    return found
