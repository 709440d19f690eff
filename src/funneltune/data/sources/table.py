"""A CSV or Parquet file with a column map: a new data set is a YAML file and no code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.codes import Codes
from funneltune.data.sources.reading import header, kind_of, read
from funneltune.data.sources.roles import Label, Roles
from funneltune.data.write import StoreWriter
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

Strict = Literal["refuse", "drop", "keep"]
SHOWN = 12
"""Faults that one message lists; the rest are counted."""


@dataclass
class _Collected:
    """What one pass over the file leaves: integers per row, and the text of each entity once."""

    codes: dict[str, Codes] = field(default_factory=lambda: {k: Codes() for k in ("request", "user", "query", "item")})
    texts: dict[str, list[pd.DataFrame]] = field(default_factory=lambda: {"query": [], "item": []})
    categories: dict[str, Codes] = field(default_factory=dict)
    columns: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    rows: int = 0

    def add(self, name: str, values: NDArray[Any]) -> None:
        self.columns.setdefault(name, []).append(values)


class Table:
    """A log in a table.

    Args:
        path: A .csv, .tsv (.gz) or .parquet file.
        item: Column of the item's identifier.
        item_text: Field -> column of the item's texts; templates (`data.texts.item`) name the fields.
        query_text: Field -> column of the query's texts.
        query: Column of the query's identifier; None: the first query text is its own identifier.
        request: Column that tells requests apart; None: each distinct query (of each user, where there is one) is one
            request, as in lists of judgments.
        user: Column of the shopper; None: one unknown shopper.
        position, time, price, grade: Columns of numbers with a meaning: 0-based or 1-based rank, time (unix seconds
            or ISO 8601), price, human judgment.
        labels: Task -> 0/1 column, or {column, at_least}.
        categorical: Further columns kept as codes, for slices and features.
        numeric: Further columns kept as float32.
        encoding: Of a CSV.
        strict: What to do with a label that holds where an edge on its way does not (a purchase without a click):
            `refuse` the log, `drop` the row, or `keep` it, the label set to 0; the last two are counted in the store.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        item: str,
        item_text: Mapping[str, str],
        query_text: Mapping[str, str] | None = None,
        query: str | None = None,
        request: str | None = None,
        user: str | None = None,
        position: str | None = None,
        time: str | None = None,
        price: str | None = None,
        grade: str | None = None,
        labels: Mapping[str, Any] | None = None,
        categorical: Sequence[str] = (),
        numeric: Sequence[str] = (),
        encoding: str = "utf-8",
        strict: Strict = "refuse",
        labels_required: bool = True,
    ) -> None:
        if path is None:
            raise ConfigError("data.path=null: name the file of the log, as data.path=FILE.")
        if strict not in {"refuse", "drop", "keep"}:
            raise ConfigError(f"data.source.strict={strict!r} must be refuse, drop or keep.")
        self.path = Path(path)
        self.encoding = encoding
        self.strict = strict
        self.labels_required = labels_required
        single = {"position": position, "time": time, "price": price, "grade": grade}
        self.roles = Roles(
            item=item,
            request=request,
            user=user,
            query=query,
            query_text=dict(query_text or {}),
            item_text=dict(item_text),
            labels={task: Label.parse(task, node) for task, node in (labels or {}).items()},
            categorical=tuple(categorical),
            numeric=tuple(numeric),
            single={role: column for role, column in single.items() if column is not None},
        )

    def unlabelled(self, path: Path) -> Table:
        """The same column map over another file whose labels are not read (nor needed)."""
        other = copy(self)
        other.path, other.labels_required = path, False
        return other

    def describe(self) -> dict[str, Any]:
        """Column map and the file's sha256: a file that changes is another log, one that moves is not."""
        kind_of(self.path)
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "kind": "table",
            "file": self.path.name,
            "sha256": digest,
            "roles": repr(self.roles),
            "encoding": self.encoding,
            "strict": self.strict,
            "labels_required": self.labels_required,
        }

    def write(self, writer: StoreWriter) -> None:
        """Read once, check every row, and hand the log over in request order.

        Raises:
            DataError: with all faults found, each naming column, row, value and rule.
        """
        self.roles.check(header(self.path, self.encoding), writer.tasks, labels=self.labels_required)
        seen = _Collected()
        for frame in read(self.path, self.roles.columns(labels=self.labels_required), self.encoding):
            self._take(frame, seen, writer.tasks)
        if not seen.rows:
            raise DataError(f"data.path={self.path} has a header but no rows; a log needs at least one.")
        columns = {name: np.concatenate(parts) for name, parts in seen.columns.items()}
        kept = self._settle_edges(columns, seen, writer)
        if seen.faults:
            more = f"; and {len(seen.faults) - SHOWN} more" if len(seen.faults) > SHOWN else ""
            raise DataError(f"{self.path.name}: " + "; ".join(seen.faults[:SHOWN]) + more)
        self._hand_over({name: values[kept] for name, values in columns.items()}, seen, writer)

    # --- one chunk ---------------------------------------------------------------------------------------------

    def _take(self, frame: pd.DataFrame, seen: _Collected, tasks: TaskFunnel) -> None:
        roles = self.roles
        query_key = roles.query or next(iter(roles.query_text.values()))
        for role, column in (
            ("query", query_key),
            ("item", roles.item),
            ("user", roles.user),
            ("request", roles.request),
        ):
            if column is not None:
                self._no_missing(frame, column, role, seen)
        query = self._encode("query", frame[query_key], frame, roles.query_text, seen)
        item = self._encode("item", frame[roles.item], frame, roles.item_text, seen)
        user = np.zeros(len(frame), dtype=np.int64)
        if roles.user is not None:
            user, _ = seen.codes["user"].encode(frame[roles.user].fillna(""))
        if roles.request is not None:
            request, _ = seen.codes["request"].encode(frame[roles.request].fillna(""))
        else:
            pairs = pd.Series([f"{u} {q}" for u, q in zip(user.tolist(), query.tolist(), strict=True)], dtype=object)
            request, _ = seen.codes["request"].encode(pairs)
        for name, values in (("request", request), ("user", user), ("query", query), ("item", item)):
            seen.add(name, values)
        for role, column in roles.single.items():
            seen.add(role, self._number(frame, column, role, seen))
        for column in roles.numeric:
            seen.add(column, self._number(frame, column, "numeric", seen).astype(np.float32))
        for column in roles.categorical:
            codes, _ = seen.categories.setdefault(column, Codes()).encode(frame[column].fillna(""))
            seen.add(column, codes.astype(np.int32))
        for task in tasks.names:
            seen.add(task, self._label(frame, task, seen) if self.labels_required else np.zeros(len(frame), np.int8))
        seen.rows += len(frame)

    def _encode(
        self, side: str, keys: pd.Series[Any], frame: pd.DataFrame, fields: Mapping[str, str], seen: _Collected
    ) -> NDArray[np.int64]:
        for name, column in fields.items():
            self._no_missing(frame, column, f"{side}_text.{name}", seen)
        codes, fresh = seen.codes[side].encode(keys.fillna(""))
        texts = frame.iloc[fresh][list(fields.values())].fillna("")
        texts.columns = pd.Index(list(fields))
        seen.texts[side].append(texts)
        return codes

    def _no_missing(self, frame: pd.DataFrame, column: str, role: str, seen: _Collected) -> None:
        empty = frame[column].isna() | (frame[column].str.strip() == "")
        if empty.any():
            row = seen.rows + int(np.flatnonzero(empty.to_numpy())[0]) + 1
            seen.faults.append(
                f"column {column!r} ({role}) is empty in {int(empty.sum())} row(s), first row {row}; fill or drop them"
            )

    def _number(self, frame: pd.DataFrame, column: str, role: str, seen: _Collected) -> NDArray[np.float64]:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        if role == "time" and numbers.isna().any():
            moments = pd.to_datetime(frame[column], errors="coerce", utc=True, format="ISO8601")
            seconds = (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
            numbers = numbers.fillna(seconds)
        values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = ~np.isfinite(values)
        if wrong.any():
            where = int(np.flatnonzero(wrong)[0])
            found = frame[column].iloc[where]
            seen.faults.append(
                f"column {column!r} ({role}) holds {'nothing' if pd.isna(found) else repr(str(found))} in row "
                f"{seen.rows + where + 1} ({int(wrong.sum())} such); it must be a finite number, mend or drop the rows"
            )
        return values

    def _label(self, frame: pd.DataFrame, task: str, seen: _Collected) -> NDArray[np.int8]:
        label = self.roles.labels[task]
        raw = frame[label.column].replace({"True": "1", "False": "0", "true": "1", "false": "0"})
        values = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = ~np.isfinite(values) if label.at_least is not None else ~np.isin(values, (0.0, 1.0))
        if wrong.any():
            where = int(np.flatnonzero(wrong)[0])
            found = frame[label.column].iloc[where]
            rule = "a finite number" if label.at_least is not None else "0 or 1 (or set at_least)"
            seen.faults.append(
                f"label {task!r}, column {label.column!r}, holds {'nothing' if pd.isna(found) else repr(str(found))} "
                f"in row {seen.rows + where + 1} ({int(wrong.sum())} such); it must be {rule}"
            )
        happened = values >= label.at_least if label.at_least is not None else values == 1.0
        return happened.astype(np.int8)

    # --- the whole ---------------------------------------------------------------------------------------------

    def _settle_edges(
        self, columns: dict[str, NDArray[Any]], seen: _Collected, writer: StoreWriter
    ) -> NDArray[np.bool_]:
        """A label that holds where an edge on its way does not: refused, dropped, or kept as 0."""
        kept = np.ones(seen.rows, dtype=bool)
        for task in writer.tasks.tasks if self.labels_required else ():
            astray = (columns[task.name] == 1) & ~writer.tasks.observed(columns, task.name)
            if not task.given or not astray.any():
                continue
            count, row = int(astray.sum()), int(np.flatnonzero(astray)[0]) + 1
            if self.strict == "refuse":
                seen.faults.append(
                    f"{task.name!r} holds without {' and '.join(task.given)} in {count} row(s), first row {row}; mend "
                    "them, or set data.source.strict=drop or keep"
                )
            elif self.strict == "drop":
                kept &= ~astray
            else:
                columns[task.name] = np.where(astray, 0, columns[task.name]).astype(np.int8)
            writer.notes[f"{task.name} without {' and '.join(task.given)}"] = {"rows": count, "strict": self.strict}
        return kept

    def _hand_over(self, columns: dict[str, NDArray[Any]], seen: _Collected, writer: StoreWriter) -> None:
        order = np.argsort(columns["request"], kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
        columns["request"] = np.cumsum(np.diff(columns["request"], prepend=columns["request"][0]) != 0)
        if "position" not in columns:
            starts = np.flatnonzero(np.diff(columns["request"], prepend=-1))
            lengths = np.diff(np.append(starts, len(columns["request"])))
            columns["position"] = np.arange(len(columns["request"])) - np.repeat(starts, lengths)
        columns["position"] = columns["position"].astype(np.int16)
        for side in ("query", "item"):
            texts = pd.concat(seen.texts[side], ignore_index=True)
            writer.entities(
                "queries" if side == "query" else "items",
                {"key": seen.codes[side].keys, **{name: texts[name].tolist() for name in texts.columns}},
            )
        writer.entities("users", {"key": seen.codes["user"].keys or [""]})
        writer.notes["categories"] = {name: codes.keys for name, codes in seen.categories.items()}
        writer.impressions(columns)
