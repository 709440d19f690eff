"""Requests to decide on: from a file, or those of a run's log."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data import MOMENT, Asked, moments
from funneltune.decisions.assortment import require_cells
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError

OWN = ("request", "query", "user", "time", "item")
READERS: dict[str, Any] = {
    ".csv": pd.read_csv,
    ".parquet": partial(pd.read_parquet, page_checksum_verification=True),
    ".jsonl": pd.read_json,
}


@dataclass(frozen=True)
class Request:
    """One request: what is asked, which items compete, and what is known of them."""

    key: str
    asked: Asked
    items: NDArray[np.int64] | None = None
    """Numbers in the log; None: all items compete."""
    rows: NDArray[np.int64] | None = None
    """Row numbers in the log, of one that was logged."""


def read_requests(path: Path, scorer: Scorer) -> list[Request]:
    """Requests from a CSV, Parquet or JSON-lines file: columns `request` (else each row is one), `query`, `user`,
    `time` (unix seconds or ISO 8601), `item` (a row for each candidate; else all items compete), and features by their
    names. In the order of their first rows.

    Raises:
        DataError: if it is no such file, or a column is unknown or missing, or an item or a time cannot be read.
    """
    frame = read_frame(path)
    known = {*OWN, *scorer.read_columns}
    if unknown := sorted(map(str, set(frame.columns) - known)):
        near = difflib.get_close_matches(unknown[0], known, 1)
        if not near and not known & set(frame.columns):  # it may be no header, and tell who asked what
            raise DataError(f"{path}: the first row names none of {', '.join(sorted(known))}; a header does.")
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise DataError(f"{path}: column {unknown[0]!r} is none of {', '.join(sorted(known))}{hint}")
    if "query" not in frame and "user" not in frame:
        raise DataError(f"{path}: needs a column query (words of a search) or user (a shopper), and has neither.")
    words = [name for name in ("query", "user") if name in frame]
    frame = frame.assign(**{name: frame[name].astype(object).fillna("").astype(str) for name in words})
    if "time" in frame:
        frame = frame.assign(time=read_times(path, frame["time"]))
    key = frame["request"].astype(str) if "request" in frame else pd.Series(np.arange(1, len(frame) + 1).astype(str))
    return [_request(path, name, rows, scorer) for name, rows in frame.groupby(key.to_numpy(), sort=False)]


def logged_requests(
    scorer: Scorer, split: str = "test", most: int | None = None, only: NDArray[np.int64] | None = None
) -> Iterator[Request]:
    """The requests of a split of the run's log (`validation`, `test`, `train`), with the items that were shown and the
    features of their rows; `most`: only the first so many; `only`: these of the log's requests, whatever their split.
    """
    data, rows_of = scorer.assembly.data, scorer.assembly.data.store.rows_of
    store, rows = data.store, scorer.rows
    words, users = list(rows.queries), list(rows.users)
    mine = [name for name in dict.fromkeys(scorer.read_columns) if store.has(name) and name not in OWN]
    if len(words) != store.table("queries").num_rows:  # two queries of one text
        words = store.text("queries", data.texts["query"])
    for number in np.sort(data.requests(split))[:most] if only is None else only:
        of_one = rows_of(np.array([number]))
        first = int(of_one[0])
        asked = Asked(
            query=words[int(store.column("query")[first])],
            user=users[int(store.column("user")[first])],
            time=float(store.column("time")[first]) if store.has("time") else None,
            columns={name: _values(store, name, of_one) for name in mine},
        )
        yield Request(str(store.column("request")[first]), asked, store.column("item")[of_one].astype(np.int64), of_one)


def _values(store: Any, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """A column of rows as people would write it: words of a categorical column, numbers else."""
    values = store.column(name)[rows]
    words = store.manifest["notes"].get("categories", {}).get(name)
    return np.asarray(values if words is None else np.asarray(words, dtype=object)[values])


def read_frame(path: Path, key: str = "requests") -> pd.DataFrame:
    """A CSV, Parquet or JSON-lines file as a table; `key` names it where it cannot be read.

    Raises:
        DataError: if it is no such file, or has no row.
    """
    if not path.is_file():
        raise DataError(f"{key}={path} is no file; name one that ends in {', '.join(READERS)}.")
    if path.suffix not in READERS:
        raise DataError(f"{key}={path} must be a file that ends in {', '.join(READERS)}.")
    try:
        options: dict[str, Any] = {".jsonl": {"lines": True}}.get(path.suffix, {})
        frame: pd.DataFrame = READERS[path.suffix](path, **options)
    except (OSError, ValueError) as error:
        raise DataError(f"{key}={path} cannot be read ({(str(error).splitlines() or [''])[0]}).") from None
    if not len(frame):
        raise DataError(f"{key}={path} has no row.")
    require_cells(frame, f"{key}={path}")
    return frame.reset_index(drop=True)


def read_times(path: Path, column: pd.Series[Any]) -> pd.Series[Any]:
    """Unix seconds of a column that holds these, or ISO 8601.

    Raises:
        DataError: if one is neither.
    """
    read = moments(column)
    if np.isnan(read).any():
        row = int(np.isnan(read).argmax())
        raise DataError(
            f"{path}: row {row + 1}: time={str(column.iloc[row])!r} must be {MOMENT}; leave the column out where times "
            "are unknown."
        )
    return pd.Series(read, index=column.index)


def _request(path: Path, key: Any, rows: pd.DataFrame, scorer: Scorer) -> Request:
    for name in ("query", "user", "time"):
        if name in rows and rows[name].nunique(dropna=False) > 1:
            row = int(rows.index[0]) + 1
            raise DataError(f"{path}: the request of row {row} has several values of {name}; a request has one.")
    first = rows.iloc[0]
    asked = Asked(
        query=first.get("query", ""), user=first.get("user", ""), time=float(first["time"]) if "time" in rows else None
    )
    columns = {name: rows[name].to_numpy() for name in rows.columns if name not in OWN}
    if "item" not in rows:
        return Request(str(key), replace(asked, columns={name: values[0] for name, values in columns.items()}))
    return Request(str(key), replace(asked, columns=columns), _numbers(path, rows["item"], scorer))


def _numbers(path: Path, items: pd.Series[Any], scorer: Scorer) -> NDArray[np.int64]:
    row = int(items.index[0]) + 1
    try:
        return np.array([scorer.catalogue.number(str(item)) for item in items.tolist()], dtype=np.int64)
    except ConfigError as error:
        raise DataError(f"{path}: the request of row {row}: {error}") from None
