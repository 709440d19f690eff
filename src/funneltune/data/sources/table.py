"""A table with a column map: a new data set is a YAML file and no code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.codes import Codes
from funneltune.data.sources.collected import FILE_ROW, SEPARATOR, Collected, in_request_order, parsed
from funneltune.data.sources.lateness import Lateness, moments
from funneltune.data.sources.reading import PART, TableFiles
from funneltune.data.sources.roles import Label, Roles, parse_where
from funneltune.data.sources.strictness import Strictness
from funneltune.data.store import DELAY
from funneltune.data.write import StoreWriter
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import Task, TaskFunnel

SHOWN = 12
"""Faults that one message lists; the rest are counted."""


class Table:
    """A log in a table.

    Args:
        path: File, shards, Hugging Face folder or `hub:OWNER/NAME`; see `TableFiles`.
        item: Column of the item's identifier; None: rows are about no item.
        item_text: Field -> column of the item's texts; templates (`data.texts.item`) name the fields.
        query_text: Field -> column of the query's texts.
        query: Column of the query's identifier; None: the query texts are their own identifier.
        request: Column that tells requests apart; None: each distinct query (of each user, where there is one) is one
            request, as in lists of judgments; without a query, each row.
        user: Column of the shopper; None: one unknown shopper.
        position, time, price, grade, propensity: Columns of numbers with a meaning: 0-based or 1-based rank, time (unix
            seconds or ISO 8601), price, human judgment, the logged probability of showing the item.
        labels: Task -> column, or {column} with at_least, equals or transform (see `Label`).
        delays: Task -> how long after the impression its event came: {purchase: {column: days_to_purchase, unit: days}}
            (seconds, minutes, hours, days), or the event's moment, {purchase: {at: bought_at}}. Kept in days as
            `delay_TASK`; empty where there was no event.
        categorical: Further columns kept as codes, for slices and features.
        numeric: Further columns kept as float32.
        vectors: Name -> column of a fixed vector per item (an image's embedding): a list, or numbers between spaces.
        encoding, separator, columns, quotes: Of delimited text; `columns` names those of a file without a header.
        parts: File (its name up to the first dot) or split of a hub's data set -> the word of its rows in the column
            `part`, for data.split.by=column.
        rename: Column of the file, if it is there -> what this map calls it.
        where: Column -> value or values of the rows that belong to the log; the others are left out and counted.
        fill: Column -> what stands in for a missing value; counted.
        after: Column -> outcome after which it is written (a review's text: purchase). It is refused as an input where
            that outcome is a task.
        one_row_requests: Each row is a request of its own.
        strict: What to do with a label that holds where an edge of its task does not (a purchase without a click):
            `refuse` the log, `drop` the row, or `keep` it, the label set to 0; the last two are counted in the store.
            One word, or a mapping: {purchase: drop}, {purchase: {cart: keep, click: drop}}.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        item: str | None = None,
        item_text: Mapping[str, str] | None = None,
        query_text: Mapping[str, str] | None = None,
        query: str | None = None,
        request: str | None = None,
        user: str | None = None,
        position: str | None = None,
        time: str | None = None,
        price: str | None = None,
        grade: str | None = None,
        propensity: str | None = None,
        labels: Mapping[str, Any] | None = None,
        delays: Mapping[str, Any] | None = None,
        categorical: Sequence[str] = (),
        numeric: Sequence[str] = (),
        vectors: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
        separator: str | None = None,
        columns: Sequence[str] | None = None,
        quotes: bool = True,
        parts: Mapping[str, str] | None = None,
        rename: Mapping[str, str] | None = None,
        where: Mapping[str, Any] | None = None,
        fill: Mapping[str, Any] | None = None,
        after: Mapping[str, str] | None = None,
        one_row_requests: bool = False,
        strict: str | Mapping[str, Any] = "refuse",
        labels_required: bool = True,
    ) -> None:
        if path is None:
            raise ConfigError("data.path=null: name the file of the log, as data.path=FILE.")
        names = None if columns is None else tuple(columns)
        self.files = TableFiles(Path(path), encoding, separator, names, dict(parts or {}), dict(rename or {}), quotes)
        self.strict = Strictness.parse(strict)
        self.labels_required = labels_required
        single = {"position": position, "time": time, "price": price, "grade": grade, "propensity": propensity}
        self.roles = Roles(
            item=item,
            request=request,
            user=user,
            query=query,
            query_text=dict(query_text or {}),
            item_text=dict(item_text or {}),
            labels={task: Label.parse(task, node) for task, node in (labels or {}).items()},
            categorical=(*categorical, *([PART] if parts else [])),
            numeric=tuple(numeric),
            single={role: column for role, column in single.items() if column is not None},
            vectors=dict(vectors or {}),
            where=parse_where(where),
            fill={column: str(value) for column, value in (fill or {}).items()},
            after=dict(after or {}),
            one_row_requests=one_row_requests,
            delays={task: Lateness.parse(task, node) for task, node in (delays or {}).items()},
        )

    def unlabelled(self, path: Path) -> Table:
        """The same column map over another file whose labels are not read (nor needed), every row of it."""
        other = copy(self)
        other.files, other.labels_required = replace(self.files, path=path, words={}), False
        other.roles = replace(self.roles, categorical=tuple(c for c in self.roles.categorical if c != PART))
        return other

    def describe(self) -> dict[str, Any]:
        """Column map and the content's sha256: a file that changes is another log, one that moves is not."""
        more = {"delays": repr(self.roles.delays)} if self.roles.delays else {}
        if self.files.words or self.files.rename or not self.files.quotes:
            more["reading"] = repr((self.files.words, self.files.rename, self.files.quotes))
        return {
            "kind": "table",
            "file": self.files.path.name,
            "sha256": self.files.digest(),
            "roles": repr(self.roles),
            "encoding": self.files.encoding,
            "text": repr((self.files.separator, self.files.names)),
            "strict": repr(self.strict),
            "labels_required": self.labels_required,
            **more,
        }

    def write(self, writer: StoreWriter) -> None:
        """Read once, check every row, and hand the log over in request order.

        Raises:
            DataError: with all faults found, each naming column, row, value and rule.
        """
        seen = self.collect(writer.tasks)
        columns = seen.whole()
        kept = self.strict.settle(columns, seen, writer.tasks) if self.labels_required else np.ones(seen.rows, bool)
        self.refuse_faults(seen)
        self._hand_over({name: values[kept] for name, values in columns.items()}, seen, writer)

    def collect(self, tasks: TaskFunnel) -> Collected:
        """One pass over the table. Faults of rows are gathered, for `refuse_faults`.

        Raises:
            DataError: if columns or rows are missing altogether.
        """
        self.roles.check(self.files.header(), tasks, labels=self.labels_required)
        faults = self.strict.check(tasks)
        if faults:
            raise ConfigError("; ".join(faults))
        seen = Collected()
        for frame in self.files.chunks(self.roles.columns(labels=self.labels_required)):
            if len(frame):
                self._take(frame.reset_index(drop=True), seen, tasks)
        if not seen.rows:
            left = f" of {seen.read} that data.source.where keeps" if seen.read else ""
            raise DataError(f"data.path={self.files.path} has a header but no rows{left}; a log needs at least one.")
        if self.roles.after:
            seen.notes["written after the outcome"] = dict(self.roles.after)
        return seen

    def refuse_faults(self, seen: Collected) -> None:
        """All faults of a pass in one line."""
        if seen.faults:
            more = f"; and {len(seen.faults) - SHOWN} more" if len(seen.faults) > SHOWN else ""
            where = f"{self.files.path.name} (rows count from 1, a header does not)"
            raise DataError(f"{where}: " + "; ".join(seen.faults[:SHOWN]) + more)

    # --- one chunk ---------------------------------------------------------------------------------------------

    def _take(self, frame: pd.DataFrame, seen: Collected, tasks: TaskFunnel) -> None:
        roles = self.roles
        rows_before, seen.offset = seen.read, self._select(frame, seen)
        seen.read += len(frame)
        frame = self._filled(frame.iloc[seen.offset - rows_before - 1], seen)
        if not len(frame):
            return
        for name, values in self._identifiers(frame, seen).items():
            seen.add(name, values)
        for role, column in roles.single.items():
            seen.add(role, self._number(frame, column, role, seen))
        for column in roles.numeric:
            seen.add(column, self._number(frame, column, "numeric", seen).astype(np.float32))
        for column in roles.categorical:
            codes, _ = seen.categories.setdefault(column, Codes()).encode(frame[column].fillna(""))
            seen.add(column, codes.astype(np.int32))
        for task in tasks.names:
            labelled = self.labels_required
            seen.add(task, self._label(frame, tasks[task], seen) if labelled else np.zeros(len(frame), np.int8))
            if labelled and task in roles.delays:
                seen.add(f"{DELAY}{task}", self._delay(frame, task, seen))
        seen.rows += len(frame)

    def _identifiers(self, frame: pd.DataFrame, seen: Collected) -> dict[str, NDArray[np.int64]]:
        """Request, user, query and item of each row as numbers; new queries and items leave their texts."""
        roles = self.roles
        for role in ("query", "item", "user", "request"):
            if getattr(roles, role) is not None:
                self._no_missing(frame, getattr(roles, role), role, seen)
        query, _ = self._encode("query", self._query_key(frame), frame, roles.query_text, seen)
        item_key = frame[roles.item] if roles.item is not None else _nothing(frame)
        item, fresh = self._encode("item", item_key, frame, roles.item_text, seen)
        for name, column in roles.vectors.items():
            seen.vectors.setdefault(name, []).extend(frame[column].fillna("").iloc[fresh].tolist())
        user = np.zeros(len(frame), dtype=np.int64)
        if roles.user is not None:
            user, _ = seen.codes["user"].encode(frame[roles.user].fillna(""))
        if roles.one_row_requests or not (roles.request or roles.query or roles.query_text):
            request = seen.rows + np.arange(len(frame))
        elif roles.request is not None:
            request, _ = seen.codes["request"].encode(frame[roles.request].fillna(""))
        else:
            pairs = pd.Series([f"{u} {q}" for u, q in zip(user.tolist(), query.tolist(), strict=True)], dtype=object)
            request, _ = seen.codes["request"].encode(pairs)
        return {"request": request, "user": user, "query": query, "item": item, FILE_ROW: seen.offset}

    def _select(self, frame: pd.DataFrame, seen: Collected) -> NDArray[np.int64]:
        """Numbers in the file, from 1, of a chunk's rows that belong to the log."""
        belongs = np.ones(len(frame), dtype=bool)
        for column, values in self.roles.where.items() if self.labels_required else ():
            inside = frame[column].isin(values).to_numpy(bool)
            seen.count("rows outside where", column, int((belongs & ~inside).sum()))
            belongs &= inside
        return seen.read + 1 + np.flatnonzero(belongs)

    def _filled(self, frame: pd.DataFrame, seen: Collected) -> pd.DataFrame:
        for column, value in self.roles.fill.items():
            if column in frame:
                missing = frame[column].isna() | (frame[column].str.strip() == "")
                seen.count("filled", column, int(missing.sum()))
                frame = frame.assign(**{column: frame[column].mask(missing, value)})
        return frame

    def _query_key(self, frame: pd.DataFrame) -> pd.Series[Any]:
        """What tells queries apart: their identifier, or all of their texts."""
        if self.roles.query is not None:
            return frame[self.roles.query]
        texts = [frame[column].fillna("") for column in self.roles.query_text.values()]
        if not texts:
            return _nothing(frame)
        key = texts[0]
        for text in texts[1:]:
            key = key + SEPARATOR + text
        return key

    def _encode(
        self, side: str, keys: pd.Series[Any], frame: pd.DataFrame, fields: Mapping[str, str], seen: Collected
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        for name, column in fields.items():
            self._no_missing(frame, column, f"{side}_text.{name}", seen)
        codes, fresh = seen.codes[side].encode(keys.fillna(""))
        texts = frame.iloc[fresh][list(fields.values())].fillna("")
        texts.columns = pd.Index(list(fields))
        seen.texts[side].append(texts)
        return codes, fresh

    def _no_missing(self, frame: pd.DataFrame, column: str, role: str, seen: Collected) -> None:
        if column in self.roles.fill:
            return
        empty = frame[column].isna() | (frame[column].str.strip() == "")
        if empty.any():
            row = int(seen.offset[np.flatnonzero(empty.to_numpy())[0]])
            seen.faults.append(
                f"column {column!r} ({role}) is empty in {int(empty.sum())} row(s), first row {row}; mend the file, or "
                f"write fill: {{{column}: TEXT}} under source"
            )

    def _number(self, frame: pd.DataFrame, column: str, role: str, seen: Collected) -> NDArray[np.float64]:
        numbers = moments(frame[column]) if role == "time" else pd.to_numeric(frame[column], errors="coerce")
        values = pd.Series(numbers).to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = ~np.isfinite(values)
        if wrong.any():
            where = int(np.flatnonzero(wrong)[0])
            found = frame[column].iloc[where]
            seen.faults.append(
                f"column {column!r} ({role}) holds {'nothing' if pd.isna(found) else repr(str(found))} in row "
                f"{seen.offset[where]} ({int(wrong.sum())} such); it must be a finite number; mend the file"
                + (f", or write fill: {{{column}: NUMBER}} under source" if pd.isna(found) else "")
            )
        return values

    def _label(self, frame: pd.DataFrame, task: Task, seen: Collected) -> NDArray[Any]:
        label = self.roles.labels[task.name]
        values, wrong = label.values(frame[label.column], task)
        if wrong.any():
            where = int(np.flatnonzero(wrong)[0])
            found = frame[label.column].iloc[where]
            seen.faults.append(
                f"label {task.name!r}, column {label.column!r}, holds "
                f"{'nothing' if pd.isna(found) else repr(str(found))} in row {seen.offset[where]} "
                f"({int(wrong.sum())} such); it must be {label.rule(task)}"
            )
        if task.kind == "regression":
            return values
        return np.where(wrong, 0, values).astype(np.int16 if task.has_levels else np.int8)

    def _delay(self, frame: pd.DataFrame, task: str, seen: Collected) -> NDArray[np.float64]:
        delay = self.roles.delays[task]
        time = seen.columns["time"][-1] if delay.unit is None else None
        days, wrong = delay.days(frame[delay.column], seen.columns[task][-1], time)
        if wrong.any():
            where = int(np.flatnonzero(wrong)[0])
            found = frame[delay.column].iloc[where]
            seen.faults.append(
                f"column {delay.column!r} holds {'nothing' if pd.isna(found) else repr(str(found))} in row "
                f"{seen.offset[where]} ({int(wrong.sum())} such), where {task!r} happened; it must be {delay.rule}"
            )
        return days

    # --- the whole ---------------------------------------------------------------------------------------------

    def _hand_over(self, columns: dict[str, NDArray[Any]], seen: Collected, writer: StoreWriter) -> None:
        if self.labels_required:
            del columns[FILE_ROW]
        columns = in_request_order(columns)
        for side in ("query", "item"):
            writer.entities("queries" if side == "query" else "items", seen.entity(side))
        writer.entities("users", {"key": seen.codes["user"].keys or [""]})
        for name, texts in seen.vectors.items():
            writer.vectors(name, parsed(name, texts))
        writer.notes |= seen.notes
        writer.notes["categories"] = {name: codes.keys for name, codes in seen.categories.items()}
        writer.notes["numeric"] = list(self.roles.numeric)
        writer.impressions(columns)


def _nothing(frame: pd.DataFrame) -> pd.Series[Any]:
    """The key of what a log does not tell apart."""
    return pd.Series([""] * len(frame), index=frame.index, dtype=object)
