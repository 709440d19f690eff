"""Tables as a stream of text columns: CSV (gzip too) and Parquet, with one clear line for what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from funneltune.errors import DataError

CHUNK = 200_000
CSV, PARQUET = (".csv", ".csv.gz", ".tsv", ".tsv.gz"), (".parquet",)


def kind_of(path: Path) -> str:
    """`csv` or `parquet`, from the name.

    Raises:
        DataError: if the file is missing, empty, or of another kind.
    """
    if not path.is_file():
        raise DataError(f"data.path={path} is not there; name the file, or see the config's head for where to get it.")
    if path.stat().st_size == 0:
        raise DataError(f"data.path={path} is empty; a log needs a header and at least one row.")
    if path.name.endswith(CSV):
        return "csv"
    if path.name.endswith(PARQUET):
        return "parquet"
    raise DataError(f"data.path={path} ends in {path.suffix!r}; it must be one of {', '.join((*CSV, *PARQUET))}.")


def header(path: Path, encoding: str) -> list[str]:
    """The column names."""
    try:
        if kind_of(path) == "parquet":
            return list(pq.read_schema(path).names)
        return list(pd.read_csv(path, nrows=0, encoding=encoding, sep=_separator(path)).columns)
    except (pa.ArrowInvalid, UnicodeDecodeError, LookupError, pd.errors.ParserError, OSError, EOFError) as error:
        raise DataError(_unreadable(path, encoding, error)) from None
    except pd.errors.EmptyDataError:
        raise DataError(f"data.path={path} has no header; a log needs one and at least one row.") from None


def read(path: Path, columns: Sequence[str], encoding: str) -> Iterator[pd.DataFrame]:
    """Chunks of the named columns, every value as text (missing ones as NA), in file order."""
    try:
        if kind_of(path) == "parquet":
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for batch in file.iter_batches(CHUNK, columns=list(columns)):
                    frame = batch.to_pandas()
                    yield frame.astype(dict.fromkeys(frame.columns, "string"))
            return
        with pd.read_csv(
            path,
            usecols=list(columns),
            dtype="string",
            encoding=encoding,
            sep=_separator(path),
            chunksize=CHUNK,
            keep_default_na=False,
            na_values=["", "NA", "NaN", "nan", "NULL", "null"],
        ) as reader:
            yield from reader
    except (pa.ArrowInvalid, UnicodeDecodeError, LookupError, pd.errors.ParserError, OSError, EOFError) as error:
        raise DataError(_unreadable(path, encoding, error)) from None


def _separator(path: Path) -> str:
    return "\t" if ".tsv" in path.name else ","


def _unreadable(path: Path, encoding: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    if isinstance(error, (UnicodeDecodeError, LookupError)):
        return f"data.path={path} is not {encoding} ({reason}); set data.source.encoding, for example latin-1."
    return f"data.path={path} cannot be read ({reason}); mend or export the file again."
