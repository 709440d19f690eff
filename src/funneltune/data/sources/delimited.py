"""Delimited text, compressed or not, as a stream of text columns; a line of more or fewer fields is found and told.

The reader of tables itself fills short lines up, and cuts long ones off or takes their first field for an index, which
shifts all others: a log would be read that no one wrote.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.errors import DataError

MISSING = ["", "NA", "NaN", "nan", "NULL", "null"]
BLOCK = 1 << 20
"""Bytes that are counted at once."""
OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
MARK, END, QUOTE = 1, 2, 3
MARKS = '",;|\t\n\r'
"""What a block of bytes is counted by, where the encoding writes them as ASCII does."""


class Odd(NamedTuple):
    """Rows whose line has another number of fields than the header."""

    rows: NDArray[np.int64]
    """In ascending order, from 0."""
    fields: NDArray[np.int64]
    total: int
    """Rows of the whole file."""


@dataclass(frozen=True)
class Delimited:
    """One file of delimited text.

    Args:
        part: The file.
        encoding, separator, names, quotes, named: As `TableFiles` has them.
    """

    part: Path
    encoding: str
    separator: str
    names: tuple[str, ...] | None
    quotes: bool
    named: str = "data.path"

    def header(self) -> list[str]:
        """Column names; of two of one name the second has a number behind it."""
        with self.opened() as stream:
            found = list(pd.read_csv(stream, nrows=1 if self.names else 0, **self._dialect).columns)
        if self.names is not None and len(found) != len(self.names):
            raise DataError(
                f"data.source.columns names {len(self.names)} columns, {self.part.name} has {len(found)}; name each "
                "once."
            )
        return list(self.names or found)

    def written_header(self) -> list[str]:
        """Column names as the file has them."""
        if self.names is not None:
            return list(self.names)
        read = {**self._dialect, "header": None, "dtype": str, "keep_default_na": False}
        with self.opened() as stream:
            first = pd.read_csv(stream, nrows=1, **read)
        return [str(name) for name in first.iloc[0]]

    def chunks(self, columns: Sequence[str], rows: int) -> Iterator[tuple[pd.DataFrame, NDArray[np.int64]]]:
        """The named columns, so many rows at a time, and how many fields each row has.

        Raises:
            DataError: if two ways of reading disagree about where rows end.
        """
        width, read = len(self.header()), 0
        with self.opened() as stream:
            counted = _Counted(stream, self, width) if len(self.separator) == 1 else None
            source = io.BufferedReader(counted, BLOCK) if counted is not None else stream
            reader = pd.read_csv(
                source,
                usecols=list(columns),
                dtype="string",
                chunksize=rows,
                keep_default_na=False,
                na_values=MISSING,
                **self._dialect | ({"names": list(self.names)} if self.names else {}),
            )
            odd: Odd | None = None
            with reader:
                for frame in reader:
                    fields = np.full(len(frame), width, dtype=np.int64)
                    if counted is not None and counted.odd:  # it is ahead of the reader
                        odd = odd or self._odd_rows(width)
                        first, behind = np.searchsorted(odd.rows, (read, read + len(frame)))
                        fields[odd.rows[first:behind] - read] = odd.fields[first:behind]
                    read += len(frame)
                    yield frame, fields
        if odd is not None and odd.total != read:
            raise DataError(
                f"{self.named}={self.part} cannot be read ({read:,} rows by one reading, {odd.total:,} by another: a "
                "quotation mark without its second); mend the file, or write quotes: false under source."
            )

    def is_utf_16(self) -> bool:
        """Whether the file begins with the mark of UTF-16, as what a spreadsheet calls Unicode does."""
        with suppress(OSError, EOFError), self.opened() as stream:
            return stream.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
        return False

    def undecodable(self) -> str:
        """Which line is not of the encoding, in words; nothing where that cannot be told."""
        with suppress(LookupError, OSError, EOFError):
            if not _like_ascii(self.encoding):
                return ""
            with self.opened() as stream:
                for number, line in enumerate(stream, start=1):
                    try:
                        line.decode(self.encoding)
                    except UnicodeDecodeError:
                        return f"line {number} of the file, "
        return ""

    def opened(self) -> AbstractContextManager[Any]:
        """The file's bytes."""
        return opened(self.part, self.named)

    @property
    def _dialect(self) -> dict[str, Any]:
        return {
            "encoding": self.encoding,
            "sep": self.separator,
            "skipinitialspace": True,
            "header": None if self.names else "infer",
            "quoting": self._quoting,
            "index_col": False,
        }

    @property
    def _quoting(self) -> Literal[0, 3]:
        return csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE

    def _odd_rows(self, width: int) -> Odd:
        """All rows whose line has not so many fields, by an exact reading of the whole file."""
        rows, fields, number = [], [], -1 if self.names is None else 0
        signed = "utf-8-sig" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding
        before = csv.field_size_limit(sys.maxsize)
        try:
            with self.opened() as stream, io.TextIOWrapper(stream, signed, newline="") as text:
                lines = csv.reader(text, delimiter=self.separator, quoting=self._quoting, skipinitialspace=True)
                for line in lines:
                    if not line or (len(line) == 1 and not line[0].strip(" \t")):
                        continue
                    if number >= 0 and len(line) != width:
                        rows.append(number)
                        fields.append(len(line))
                    number += 1
        finally:
            csv.field_size_limit(before)
        return Odd(np.array(rows, np.int64), np.array(fields, np.int64), max(number, 0))


class _Counted(io.RawIOBase):
    """Bytes that pass through; `odd` once a line may have another number of fields.

    Quotation marks are taken for pairs here, which a lone one within a word upsets: it only asks for an exact look.
    """

    def __init__(self, stream: Any, file: Delimited, width: int) -> None:
        self.stream, self.width = stream, width
        self.odd = not _like_ascii(file.encoding) or not file.separator.isascii()
        self._kinds = np.zeros(256, dtype=np.uint8)
        self._mark = ord(file.separator)
        if not self.odd:
            self._kinds[[10, 13, self._mark]] = END, END, MARK
            self._kinds[34] = QUOTE if file.quotes else 0
        self._inside = np.uint8(0)
        self._marks = self._length = 0
        """Of the line that goes on in the next block."""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Pass a block on."""
        read = int(self.stream.readinto(buffer))
        if not self.odd:
            if read:
                self._count(np.frombuffer(buffer, np.uint8, read))
            elif self._length:
                self.odd = self._marks != self.width - 1
        return read

    def _count(self, block: NDArray[np.uint8]) -> None:
        special = (block == self._mark) | (block == 10) | (block == 13)
        if self._kinds[34] == QUOTE:
            special |= block == 34
        places = np.flatnonzero(special)
        kinds = self._kinds[block[places]]
        quotes = kinds == QUOTE
        if self._inside or quotes.any():
            inside = (np.cumsum(quotes, dtype=np.uint8) & 1) ^ self._inside
            outside = (inside == 0) & ~quotes
            self._inside = inside[-1] if len(inside) else self._inside
            places, kinds = places[outside], kinds[outside]
        at = np.flatnonzero(kinds == END)
        if not len(at):
            self._marks, self._length = self._marks + len(kinds), self._length + len(block)
            return
        found, length = np.diff(at, prepend=-1) - 1, np.diff(places[at], prepend=-1) - 1
        found[0] += self._marks
        length[0] += self._length
        self.odd = bool(((found != self.width - 1) & (length > 0)).any())
        self._marks, self._length = int(len(kinds) - at[-1] - 1), int(len(block) - places[at[-1]] - 1)


@contextmanager
def opened(part: Path, named: str = "data.path") -> Iterator[Any]:
    """A file's bytes, unpacked where its name says that it is packed.

    Raises:
        DataError: if it is an archive of several files, or packed as nothing here unpacks.
    """
    if part.suffix == ".zip":
        with zipfile.ZipFile(part) as archive:
            if len(inside := archive.namelist()) != 1:
                raise DataError(f"{named}={part} holds {len(inside)} files; a log is one: unpack it.")
            with archive.open(inside[0]) as stream:
                yield stream
        return
    if part.suffix in (".zst", ".tar", ".tgz", ".7z"):
        raise DataError(f"{named}={part} is an archive; unpack it, or pack the log as {', '.join(OPENERS)}.")
    with OPENERS.get(part.suffix, Path.open)(part, "rb") as stream:
        yield stream


def _like_ascii(encoding: str) -> bool:
    return MARKS.encode(encoding) == MARKS.encode("ascii")
