"""Tables as a stream of text columns: CSV, Parquet, Arrow, Hugging Face datasets; one file or many shards."""

from __future__ import annotations

import csv
import hashlib
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from funneltune.data.sources.columnar import as_text, chunks_of, header_of
from funneltune.data.sources.delimited import Delimited
from funneltune.errors import DataError

CHUNK = 200_000
CSV, PARQUET, ARROW = (".csv", ".csv.gz", ".tsv", ".tsv.gz"), (".parquet",), (".arrow", ".feather")
HUB = "hub:"
COMMIT = re.compile(r"[0-9a-f]{40}")
TABLES = ("csv", "json", "parquet", "arrow", "text", "cache")
"""Readers of `datasets` that a hub's data set may ask for; others open archives, databases and foreign formats."""
SAVED_DATASET = ("state.json", "dataset_dict.json")
"""What `datasets.save_to_disk` leaves in a folder, of one split or of several."""
PART = "part"
"""The column that says which part of the log a row is of, where files (or a data set's splits) are parts."""
LOG = "data.path"
BROKEN = (
    pa.ArrowException,
    UnicodeDecodeError,
    LookupError,
    pd.errors.ParserError,
    csv.Error,
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    lzma.LZMAError,
)
"""What readers raise of files that are cut short, damaged or of another format."""


class Piece(NamedTuple):
    """Rows of one file, in its order."""

    frame: pd.DataFrame
    """Every value as text."""
    file: str
    fields: NDArray[np.int64] | None
    """How many fields each row's line has; None: the format leaves no choice."""
    width: int
    """How many it must have."""

    @property
    def ragged(self) -> NDArray[np.bool_]:
        """Rows whose values may stand in the wrong columns."""
        return np.zeros(len(self.frame), bool) if self.fields is None else self.fields != self.width


@dataclass(frozen=True)
class TableFiles:
    """The table behind `data.path`.

    Args:
        path: A .csv, .tsv (.gz), .parquet, .arrow or .feather file; a folder or pattern (`day-*.parquet`) of shards of
            one kind, read in the order of their names; a folder that `datasets.save_to_disk` wrote; or a data set of
            the Hugging Face hub, as `hub:OWNER/NAME` (its train split) or `hub:OWNER/NAME/SPLIT`; one of
            several under a name as `hub:OWNER/NAME:CONFIG`; of one commit as `hub:OWNER/NAME@COMMIT`, its 40 letters,
            behind CONFIG and before SPLIT: without it the newest is read.
        encoding: Of delimited text.
        separator: Of delimited text; None: a tab in .tsv, else a comma. Given, files of any ending are read as text.
        names: Column names of delimited text without a header.
        words: File (its name, or that up to the first dot) or split of a data set -> the word that its rows have in the
            column `part`; files and splits that are not named are left out. Empty: all are read, without that column.
        rename: Column of the file -> what it is called here; a column that is not there is passed over.
        quotes: False where a quotation mark is a letter like any other.
        named: How the user named the path: the key that messages speak of.
    """

    path: Path
    encoding: str = "utf-8"
    separator: str | None = None
    names: tuple[str, ...] | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    quotes: bool = True
    named: str = LOG

    @cached_property
    def parts(self) -> tuple[Path, ...]:
        """The files, in the order in which they are read.

        Raises:
            DataError: if there is none, or one is empty.
        """
        if any(letter in str(self.path) for letter in "*?["):
            found = sorted(self.path.parent.glob(self.path.name))
        elif self.path.is_dir():
            ends = (*CSV, *PARQUET, *ARROW)
            found = sorted(p for p in self.path.iterdir() if p.name.endswith(ends) or p.name in self.words)
        else:
            found = [self.path] if self.path.is_file() else []
        if found and self.words:
            found = self._named(found, {part: self._word_key(part) for part in found})
        if not found:
            raise DataError(
                f"{self.named}={self.path} is not there; name the file, or see the config's head for where to get it."
            )
        for part in found if self.words else ():
            if (packed := part.with_name(f"{part.name}.gz")) in found:
                raise DataError(
                    f"{self.named}={self.path} holds {part.name} and {packed.name}, rows twice; remove one."
                )
        for part in found:
            if part.stat().st_size == 0:
                raise DataError(f"{self.named}={part} is empty; a log needs a header and at least one row.")
        return tuple(found)

    def _named(self, found: Sequence[Any], stems: Mapping[Any, str]) -> list[Any]:
        """Those that `words` names, each of which must be there."""
        there = set(stems.values())
        missing = sorted({word for word in self.words.values() if not any(self.words.get(s) == word for s in there)})
        if missing:
            keys = " or ".join(key for key, word in self.words.items() if word == missing[0])
            raise DataError(
                f"{self.named}={self.path} holds {', '.join(sorted(there))}, but no {keys}, the rows of part "
                f"{missing[0]!r}; add it, or change data.source.parts."
            )
        return [one for one in found if stems[one] in self.words]

    def _word_key(self, part: Path) -> str:
        """How `words` may name a file: `train.tsv.gz` as it is, or `train`."""
        return part.name if part.name in self.words else part.name.partition(".")[0]

    @cached_property
    def dataset(self) -> Any:
        """The Hugging Face data set, or None where the path is none; parts of it one behind the other.

        Raises:
            DataError: if the package is missing, the data set is not there, or it has several splits.
        """
        text = str(self.path)
        if not text.startswith(HUB) and not any((self.path / name).is_file() for name in SAVED_DATASET):
            return None
        try:
            import datasets
        except ModuleNotFoundError:
            raise DataError(
                f"{self.named}={text} is a Hugging Face data set; reading it needs pip install 'funneltune[datasets]'."
            ) from None
        try:
            if not text.startswith(HUB):
                found = datasets.load_from_disk(text)
            else:
                owner, name, *split = text.removeprefix(HUB).split("/")
                name, _, commit = name.partition("@")
                name, _, config = name.partition(":")
                home = (f"{owner}/{name}", *([config] if config else []))
                pin = {"revision": commit} if commit else {}
                if commit and not COMMIT.fullmatch(commit):
                    raise ValueError(f"@{commit} is no commit of the hub, which has 40 letters of 0-9 and a-f")
                reader = type(datasets.load_dataset_builder(*home, **pin)).__module__.rpartition(".")[2]
                if reader not in TABLES:
                    raise ValueError(f"it is read as {reader}, and a log is one of {', '.join(TABLES)}")
                wanted = split[0] if split else None if self.words else "train"
                found = datasets.load_dataset(*home, split=wanted, **pin)
        except Exception as error:  # whatever the hub, the cache or a loading script raises
            raise DataError(self._unreadable(self.path, error)) from None
        if isinstance(found, datasets.DatasetDict) and self.words:
            names = self._named(list(found), {name: name for name in found})
            found = datasets.concatenate_datasets(
                [found[n].add_column(PART, [self.words[n]] * len(found[n])) for n in names]
            )
        if isinstance(found, datasets.DatasetDict):
            raise DataError(
                f"{self.named}={text} holds several splits; name one of them: "
                f"{', '.join(f'{text}/{split}' for split in found)}."
            )
        return found

    def digest(self) -> str:
        """sha256 of the content: a file that changes is another log, one that moves is not."""
        if self.dataset is not None:
            return str(self.dataset._fingerprint)
        digests = []
        for part in self.parts:
            with part.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def header(self) -> list[str]:
        """The column names; shards must agree on them."""
        if self.dataset is not None:
            return [self.rename.get(name, name) for name in self.dataset.column_names]
        return [*(self.rename.get(name, name) for name in self._columns()), *([PART] if self.words else [])]

    def _columns(self) -> list[str]:
        """The files' own column names."""
        first: list[str] = self._guarded(self.parts[0], self._header)
        for part in self.parts[1:]:
            other = self._guarded(part, self._header)
            if other != first:
                missing, more = sorted(set(first) - set(other)), len(set(other) - set(first))
                # what it has more is counted, not named: a first row that is no header tells who asked what
                odd = (
                    f"{missing[0]!r} is missing"
                    if missing
                    else f"it has {more} more"
                    if more
                    else "their order differs"
                )
                raise DataError(
                    f"{self.named}={part} has not the columns of {self.parts[0].name} ({odd}); shards of one log "
                    "have the same columns."
                )
        return first

    def chunks(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """The named columns, every value as text (missing ones as NA, lists as numbers between spaces), in order.

        Raises:
            DataError: if a line has another number of fields than the header.
        """
        rows = 0
        for piece in self.pieces(columns):
            if (ragged := piece.ragged).any():
                first = int(np.flatnonzero(ragged)[0])
                assert piece.fields is not None
                raise DataError(
                    f"{piece.file}: row {rows + first + 1} has {piece.fields[first]} fields, the header {piece.width} "
                    f"({int(ragged.sum())} such); mend the file, or quote the texts that hold the separator."
                )
            rows += len(piece.frame)
            yield piece.frame

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """The same with the files that rows come from, and with lines that have too many or too few fields.

        Raises:
            DataError: if a file cannot be read, or has one of the columns twice.
        """
        own = self.dataset.column_names if self.dataset is not None else self._columns()
        there = {self.rename.get(name, name): name for name in own}
        wanted = [there[name] for name in columns if name in there]
        if self.dataset is not None:
            for batch in self.dataset.select_columns(wanted).with_format("arrow").iter(CHUNK):
                yield Piece(as_text(batch).rename(columns=self.rename), str(self.path), None, len(own))
            return
        self._refuse_twins(columns)
        for part in self.parts:
            reader = self._guarded(part, lambda p: self._chunks(p, wanted))
            while (found := self._guarded(part, lambda _, r=reader: next(r, None))) is not None:  # type: ignore[misc]
                frame = found[0].rename(columns=self.rename)
                if self.words:
                    frame = frame.assign(**{PART: self.words[self._word_key(part)]}).astype("string")
                yield Piece(frame, part.name, found[1], len(own))

    def _refuse_twins(self, columns: Sequence[str]) -> None:
        """A name that stands for two columns says nothing."""
        written = self._guarded(self.parts[0], self._written_header)
        counts = Counter(self.rename.get(name, name) for name in written)
        if twice := [name for name in columns if counts[name] > 1]:
            raise DataError(
                f"{self.named}={self.parts[0]}: the header names column {twice[0]!r} {counts[twice[0]]} times; rename "
                "or remove one."
            )

    @property
    def _is_log(self) -> bool:
        """Whether the data config says how it is read, and can be changed; new rows are read as the log was."""
        return self.named == LOG

    # --- one file ----------------------------------------------------------------------------------------------

    def _kind(self, part: Path) -> str:
        if self.separator is not None or self.names is not None or part.name.endswith(CSV):
            return "text"
        if part.name.endswith(PARQUET):
            return "parquet"
        if part.name.endswith(ARROW):
            return "arrow"
        raise DataError(
            f"{self.named}={part} ends in {part.suffix!r}; it must be one of {', '.join((*CSV, *PARQUET, *ARROW))}"
            + (", or set data.source.separator for delimited text of another name." if self._is_log else ".")
        )

    def _header(self, part: Path) -> list[str]:
        return self._delimited(part).header() if self._kind(part) == "text" else self._written_header(part)

    def _written_header(self, part: Path) -> list[str]:
        """Names as the file has them, perhaps twice."""
        kind = self._kind(part)
        return self._delimited(part).written_header() if kind == "text" else header_of(part, kind)

    def _chunks(self, part: Path, columns: Sequence[str]) -> Iterator[tuple[pd.DataFrame, NDArray[np.int64] | None]]:
        kind = self._kind(part)
        if kind == "text":
            yield from self._delimited(part).chunks(columns, CHUNK)
            return
        for frame in chunks_of(part, kind, columns, CHUNK):
            yield frame, None

    def _delimited(self, part: Path) -> Delimited:
        separator = self.separator or ("\t" if ".tsv" in part.name else ",")
        return Delimited(part, self.encoding, separator, self.names, self.quotes, self.named)

    def _guarded(self, part: Path, read: Callable[[Path], Any]) -> Any:
        """Whatever a broken file raises, in one line."""
        try:
            return read(part)
        except pd.errors.EmptyDataError:
            raise DataError(f"{self.named}={part} has no header; a log needs one and at least one row.") from None
        except BROKEN as error:
            if self._kind(part) == "text" and isinstance(error, (UnicodeDecodeError, LookupError)):
                raise DataError(self._undecoded(part, error)) from None
            raise DataError(self._unreadable(part, error)) from None

    def _undecoded(self, part: Path, error: UnicodeDecodeError | LookupError) -> str:
        """Which encoding it has not, and what to do: a log's can be named, new rows have the log's."""
        remedy = "set data.source.encoding, for example latin-1"
        if isinstance(error, LookupError):
            why = " ".join(str(error).split())[:200]
        elif self._delimited(part).is_utf_16():
            why = "it begins with the mark of UTF-16"
            remedy = "save it as UTF-8, or set data.source.encoding to utf-16"
        else:  # the rest of the message is a place in a buffer, and bytes of a text
            why = f"{self._delimited(part).undecodable()}{error.reason}"
        remedy = remedy if self._is_log else f"save it as {self.encoding.upper()}"
        return f"{self.named}={part} is not {self.encoding} ({why}); {remedy}."

    def _unreadable(self, part: Path, error: Exception) -> str:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, UnicodeDecodeError):
            reason = error.reason
        return f"{self.named}={part} cannot be read ({reason}); mend or export the file again."
