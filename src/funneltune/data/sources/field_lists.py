r"""Lines of columns between commas, the last a list of features: FIELD \x02 ID \x03 VALUE, with \x01 between them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from funneltune.errors import DataError

BLOCK = 1 << 23
"""Bytes read at once."""
NONE = -1
"""Stands where a row lacks a field; an id is a whole number, 0 or more."""
HIGHEST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Lines:
    """Some lines of a file: its columns before the list, and of the list the id of each wanted field."""

    first: int
    """The number of the first line, from 1."""
    columns: Sequence[Any]
    """Arrow arrays of strings."""
    ids: NDArray[np.int32]
    """(lines, fields); NONE where a line lacks the field."""


def read_lines(path: Path, names: Sequence[str], fields: Sequence[str], block: int = BLOCK) -> Iterator[Lines]:
    """A file of lines without a header, block by block.

    Args:
        path: Plain, or compressed where its name ends in .gz.
        names: What the columns are, in words; the last is the list.
        fields: Fields whose ids are wanted; others are passed over. Of a field with several ids the last one stays.
        block: Bytes read at once.

    Raises:
        DataError: for the first line that is not so, with its number.
    """
    row = 1
    for text in _blocks(path, block):
        lines = _split_lines(text)
        columns = pc.split_pattern(lines, ",", max_splits=len(names) - 1)
        _require(
            pc.equal(pc.list_value_length(columns), len(names)),
            *(path, row, lines),
            f"it must have {len(names)} columns between commas: {', '.join(names)}",
        )
        *plain, listed = (pc.list_element(columns, place) for place in range(len(names)))
        yield Lines(row, plain, _ids(listed, fields, path, row))
        row += len(lines)


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """The file in blocks of whole lines, each with its last line break."""
    rest = b""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while found := file.read(size):
                whole, cut, rest_of = found.rpartition(b"\n")
                if not cut:
                    rest += found
                    continue
                yield rest + whole + cut
                rest = rest_of
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"data.path: {path} cannot be read ({error}); get it again.") from None
    if rest:
        yield rest + b"\n"


def _split_lines(text: bytes) -> Any:
    """An Arrow array of the lines without their breaks; the bytes themselves are not copied."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")).astype(np.int32) + 1
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(text))
    return pc.ascii_rtrim(lines, "\r\n")


def _ids(listed: Any, fields: Sequence[str], path: Path, row: int) -> NDArray[np.int32]:
    """(lines, fields) from the lists of features."""
    features = pc.split_pattern(listed, "\x01")
    of_line = pc.list_parent_indices(features).to_numpy()
    feature = features.flatten()
    named = pc.split_pattern(feature, "\x02")
    rule = "its features must read FIELD \\x02 ID \\x03 VALUE, with \\x01 between them and ids that are whole numbers"
    _require(pc.equal(pc.list_value_length(named), 2), path, row, feature, rule, of_line)
    field = pc.index_in(pc.list_element(named, 0), value_set=pa.array(fields, pa.string()))
    wanted = field.is_valid()
    text = pc.list_element(pc.split_pattern(pc.list_element(named.filter(wanted), 1), "\x03", max_splits=1), 0)
    of_line = of_line[wanted.to_numpy(zero_copy_only=False)]
    number = pc.and_(pc.string_is_ascii(text), pc.and_(pc.utf8_is_digit(text), pc.less(pc.utf8_length(text), 19)))
    _require(number, path, row, feature.filter(wanted), rule, of_line)
    ids = pc.cast(text, pa.int64())
    small = pc.less_equal(ids, HIGHEST)
    _require(small, path, row, feature.filter(wanted), f"an id must be a whole number up to {HIGHEST}", of_line)
    found = np.full((len(listed), len(fields)), NONE, dtype=np.int32)
    # Of several ids of one field, NumPy keeps the one that is assigned last.
    found[of_line, field.filter(wanted).to_numpy()] = ids.to_numpy()
    return found


def _require(right: Any, path: Path, row: int, shown: Any, rule: str, of_line: NDArray[Any] | None = None) -> None:
    """Refuse the first value of `shown` that is not right, as the line that it is of."""
    wrong = np.flatnonzero(~right.to_numpy(zero_copy_only=False))
    if len(wrong):
        line = wrong[0] if of_line is None else of_line[wrong[0]]
        text = repr(shown[int(wrong[0])].as_py())
        raise DataError(f"{path.name}, row {row + int(line)}: {text[:80]}; {rule}; mend or drop the row.")
