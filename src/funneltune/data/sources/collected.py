"""What one pass over a table leaves: integers per row, and the text of each entity once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.codes import Codes, FirstTexts
from funneltune.data.sources.quarantine import Quarantine
from funneltune.data.sources.spilled import Columns
from funneltune.errors import DataError

SEPARATOR, FILE_ROW = "\x1f", "row"
SEVERAL = "{side} with more than one text, of which the first is taken"
"""The note of a store that counts them, by field."""
AT_ONCE = 1 << 18
"""Rows that are handed over together."""


@dataclass
class Collected:
    """What one pass over the file leaves: integers per row, and the text of each entity once."""

    codes: dict[str, Codes] = field(default_factory=lambda: {k: Codes() for k in ("request", "user", "query", "item")})
    texts: dict[str, list[pd.DataFrame]] = field(default_factory=lambda: {"query": [], "item": []})
    first_texts: dict[tuple[str, str], FirstTexts] = field(default_factory=dict)
    """Of a side's fields."""
    vectors: dict[str, list[str]] = field(default_factory=dict)
    images: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    categories: dict[str, Codes] = field(default_factory=dict)
    columns: Columns = field(default_factory=Columns)
    faults: list[str] = field(default_factory=list)
    rows: int = 0
    read: int = 0
    """Rows of the file so far, those outside `where` included."""
    offset: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Of the chunk's rows, their numbers in the log: messages name them."""
    bad: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """Of the chunk's rows, which have a fault."""
    belonging: int = 0
    """Rows so far that belong to the log, those with faults included."""
    quarantine: Quarantine | None = None
    """Where rows with faults go; None: they refuse the log."""
    files: list[tuple[int, str]] = field(default_factory=list)
    """Number in the log of each file's first row, and the file's name."""

    def begin(self, file: str, rows: int) -> int:
        """The next rows of a file: the number of the first."""
        first = self.read + 1
        if not self.files or self.files[-1][1] != file:
            self.files.append((first, file))
        self.read += rows
        return first

    def place(self, row: int) -> tuple[str, int]:
        """The file of a row, and the row's number in it, from 1."""
        first, file = (
            self.files[bisect_right(self.files, row, key=lambda known: known[0]) - 1] if self.files else (1, "")
        )
        return file, row - first + 1

    def spelt(self, row: int) -> str:
        """The same in words; the file where there are several."""
        file, number = self.place(row)
        return f"row {number}" + (f" of {file}" if len(self.files) > 1 else "")

    def count(self, note: str, key: str, rows: int) -> None:
        """Add to a count of the store's notes."""
        if rows:
            self.notes.setdefault(note, {})[key] = self.notes.get(note, {}).get(key, 0) + rows

    def tell_several(self) -> None:
        """Note how many entities come with more than one text."""
        for (side, name), texts in self.first_texts.items():
            self.count(SEVERAL.format(side={"item": "items", "query": "queries"}[side]), name, len(texts))

    def entity(self, side: str) -> dict[str, Any]:
        """`key` and the texts of queries or items, one entry each."""
        texts = pd.concat(self.texts[side], ignore_index=True)
        return {"key": self.codes[side].keys, **{name: texts[name].tolist() for name in texts.columns}}


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


def in_request_order(columns: Mapping[str, NDArray[Any]], kept: NDArray[np.bool_]) -> Iterator[dict[str, NDArray[Any]]]:
    """The kept rows sorted by request, in chunks: requests numbered anew from 0, positions within them where none are
    given.
    """
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(columns["request"][rows], kind="stable")]
    if not len(rows):
        return
    request = columns["request"][rows]
    request = np.cumsum(np.diff(request, prepend=request[0]) != 0)
    starts = np.flatnonzero(np.diff(request, prepend=-1))
    for first in range(0, len(rows), AT_ONCE):
        chunk = slice(first, first + AT_ONCE)
        found = {name: np.asarray(values[rows[chunk]]) for name, values in columns.items()}
        found["request"] = request[chunk]
        if "position" not in found:
            place = np.arange(first, first + len(rows[chunk])) - starts[request[chunk]]
            found["position"] = np.minimum(place, np.iinfo(np.int16).max)
        found["position"] = found["position"].astype(np.int16)
        yield found
