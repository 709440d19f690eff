"""Parquet and Arrow files as a stream of text columns, held against what checksums and counts they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from funneltune.files import require_parquet_counts


def header_of(part: Path, kind: str) -> list[str]:
    """Column names of a `parquet` or `arrow` file, perhaps one of them twice."""
    if kind == "parquet":
        return list(pq.read_schema(part).names)
    with _arrow(part) as reader:
        return list(reader.schema.names)


def chunks_of(part: Path, kind: str, columns: Sequence[str], rows: int) -> Iterator[pd.DataFrame]:
    """The named columns as texts, so many rows at a time."""
    if kind == "parquet":
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            require_parquet_counts(file.metadata)
            for batch in file.iter_batches(rows, columns=list(columns)):
                yield as_text(batch)
        return
    with _arrow(part) as reader:
        for batch in reader.read_all().select(list(columns)).to_batches(rows):
            batch.validate(full=True)  # offsets that lead out of the file would be followed
            yield as_text(batch)


def as_text(batch: pa.RecordBatch) -> pd.DataFrame:
    """Every value as text: missing ones as NA, lists as numbers between spaces."""
    batch = batch.replace_schema_metadata(None)  # what pandas says there of its types is not needed, nor checked
    for place, column in enumerate(batch.schema):  # texts of writers that do not call them so
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            batch = batch.set_column(place, column.name, batch.column(place).cast(pa.large_string()))
    # Whole numbers stay whole beside missing ones: an identifier is not 7 in one batch and 7.0 in another.
    frame: pd.DataFrame = batch.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    for name in frame.columns:
        values = frame[name]
        if values.dtype == object and len(values) and isinstance(values.iloc[0], (list, tuple, np.ndarray)):
            frame[name] = [None if v is None else " ".join(map(str, v)) for v in values]
    return frame.astype(dict.fromkeys(frame.columns, "string"))


@contextmanager
def _arrow(part: Path) -> Iterator[Any]:
    """An Arrow file in either of its formats: random access (Feather 2), or a stream as `datasets` writes it."""
    with pa.memory_map(str(part)) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_stream(source)
        yield reader
