"""A table with a column map: a new data set is a YAML file and no code."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.pictures import Named
from funneltune.data.sources import cells
from funneltune.data.sources.codes import Codes
from funneltune.data.sources.collected import FILE_ROW, SEPARATOR, Collected, in_request_order, parsed
from funneltune.data.sources.joins import parse_joins
from funneltune.data.sources.lateness import Lateness
from funneltune.data.sources.pictures import IMAGE, describe_files, files_of, folder_of
from funneltune.data.sources.reading import PART, TableFiles
from funneltune.data.sources.roles import Label, Roles, parse_where
from funneltune.data.sources.spilled import Columns
from funneltune.data.sources.strictness import Strictness
from funneltune.data.store import DELAY, LogStore
from funneltune.data.write import StoreWriter
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

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
        grades: What the words of the grade's column are worth: {Exact: 2, Partial: 1, Irrelevant: 0}; None: it holds
            numbers.
        vectors: Name -> column of a fixed vector per item (an image's embedding): a list, or numbers between spaces.
        images, image_folder: Name -> column of the item's picture file (empty: none); where they lie, from the log's.
        encoding, separator, columns, quotes: Of delimited text; `columns` names those of a file without a header.
        parts: File (its name, or that up to the first dot) or split of a hub's data set -> the word of its rows in the
            column `part`, for data.split.by=column. A request lies in one part.
        rename: Column of the file, if it is there -> what this map calls it.
        joins: Tables beside the log whose columns its rows share by a key, each {path, by: [..], columns: [..]} and
            perhaps `rename`; a path that is not absolute begins where the log lies. They are held in memory, with these
            columns; a key without a match is refused, or its columns are filled. See `Join`.
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
        grades: Mapping[str, float] | None = None,
        propensity: str | None = None,
        labels: Mapping[str, Any] | None = None,
        delays: Mapping[str, Any] | None = None,
        categorical: Sequence[str] = (),
        numeric: Sequence[str] = (),
        vectors: Mapping[str, str] | None = None,
        images: Mapping[str, str] | None = None,
        image_folder: str | None = None,
        encoding: str = "utf-8",
        separator: str | None = None,
        columns: Sequence[str] | None = None,
        quotes: bool = True,
        parts: Mapping[str, str] | None = None,
        rename: Mapping[str, str] | None = None,
        joins: Sequence[Mapping[str, Any]] = (),
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
        self.labels_required, self.image_folder = labels_required, folder_of(Path(path), image_folder)
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
            images=dict(images or {}),
            where=parse_where(where),
            fill={column: str(value) for column, value in (fill or {}).items()},
            after=dict(after or {}),
            one_row_requests=one_row_requests,
            grades={str(word): float(grade) for word, grade in (grades or {}).items()},
            delays={task: Lateness.parse(task, node) for task, node in (delays or {}).items()},
        )
        self.joins = parse_joins(joins, self.files, self.roles.where)

    def unlabelled(self, path: Path) -> Table:
        """The same column map over another file whose labels are not read (nor needed), every row of it."""
        other = copy(self)
        other.files, other.labels_required = replace(self.files, path=path, words={}), False
        other.joins = tuple(replace(join, where={}) for join in self.joins)
        other.roles = replace(self.roles, categorical=tuple(c for c in self.roles.categorical if c != PART))
        return other

    def describe(self) -> dict[str, Any]:
        """Column map and the content's sha256: a file that changes is another log, one that moves is not."""
        more: dict[str, Any] = {"delays": repr(self.roles.delays)} if self.roles.delays else {}
        if self.files.words or self.files.rename or not self.files.quotes:
            more["reading"] = repr((self.files.words, self.files.rename, self.files.quotes))
        more |= {"joins": [join.describe() for join in self.joins]} if self.joins else {}
        more |= {"images": describe_files(self.roles.images, self.image_folder)} if self.roles.images else {}
        more |= {"grades": repr(self.roles.grades)} if self.roles.grades else {}
        if present := [task for task, label in self.roles.labels.items() if label.present]:
            more["present"] = present
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

    def pictures(self, name: str, store: LogStore) -> Iterator[Named]:
        """Each item's picture file, as the log names it."""
        if name not in self.roles.images:
            there = ", ".join(self.roles.images) or "none"
            raise ConfigError(f"vision.images: data.source.images has no {name!r}; it has {there}.")
        return files_of(
            self.roles.images[name], store.table("items").column(IMAGE + name).to_pylist(), self.image_folder
        )

    def write(self, writer: StoreWriter) -> None:
        """Read once, check every row, and hand the log over in request order.

        Raises:
            DataError: with all faults found, each naming column, row, value and rule.
        """
        with tempfile.TemporaryDirectory(dir=writer.folder) as aside:  # a log may be longer than memory
            seen = self.collect(writer.tasks, Path(aside))
            columns = seen.columns.whole()
            kept = self.strict.settle(columns, seen, writer.tasks) if self.labels_required else np.ones(seen.rows, bool)
            self.refuse_faults(seen)
            self._hand_over(columns, kept, seen, writer)

    def collect(self, tasks: TaskFunnel, aside: Path | None = None) -> Collected:
        """One pass over the table; its columns grow in the folder `aside`, or in memory. Faults of rows are gathered.

        Raises:
            DataError: if columns or rows are missing altogether.
        """
        wanted = self._columns(tasks)
        if faults := self.strict.check(tasks):
            raise ConfigError("; ".join(faults))
        seen = Collected(columns=Columns(aside))
        for frame in self.files.chunks(wanted):
            if len(frame):
                self._take(frame.reset_index(drop=True), seen, tasks)
        if not seen.rows:
            left = f" of {seen.read} that data.source.where keeps" if seen.read else ""
            raise DataError(f"data.path={self.files.path} has a header but no rows{left}; a log needs at least one.")
        if self.roles.after:
            seen.notes["written after the outcome"] = dict(self.roles.after)
        return seen

    def _columns(self, tasks: TaskFunnel) -> list[str]:
        """Columns to read of the log itself.

        Raises:
            DataError: if one is missing there and in the joins.
        """
        own, faults = self.files.header(), list[str]()
        found = list(own)
        for join in self.joins:
            faults += join.check(found)
            found += join.columns
        if faults:
            raise DataError("; ".join(faults))
        self.roles.check(found, tasks, labels=self.labels_required)
        keys = [column for join in self.joins for column in join.by]
        return [c for c in dict.fromkeys((*self.roles.columns(labels=self.labels_required), *keys)) if c in own]

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
        frame = frame.iloc[seen.offset - rows_before - 1]
        if not len(frame):
            return
        for join in self.joins:
            frame, lost = join.joined(frame, seen.offset, roles.fill)
            seen.count("rows without a match", join.files.path.name, lost)
        frame = cells.filled(frame, roles, seen)
        for name, values in self._identifiers(frame, seen).items():
            seen.columns.add(name, values)
        for role, column in roles.single.items():
            seen.columns.add(role, cells.number(frame, roles, column, role, seen))
        for column in roles.numeric:
            seen.columns.add(column, cells.number(frame, roles, column, "numeric", seen).astype(np.float32))
        for column in roles.categorical:
            codes, _ = seen.categories.setdefault(column, Codes()).encode(frame[column].fillna(""))
            seen.columns.add(column, codes.astype(np.int32))
        for task in tasks.names:
            labelled = self.labels_required
            seen.columns.add(
                task, cells.label(frame, roles, tasks[task], seen) if labelled else np.zeros(len(frame), np.int8)
            )
            if labelled and task in roles.delays:
                seen.columns.add(f"{DELAY}{task}", cells.delay(frame, roles, task, seen))
        seen.rows += len(frame)

    def _identifiers(self, frame: pd.DataFrame, seen: Collected) -> dict[str, NDArray[np.int64]]:
        """Request, user, query and item of each row as numbers; new queries and items leave their texts."""
        roles = self.roles
        for role in ("query", "item", "user", "request"):
            if getattr(roles, role) is not None:
                cells.no_missing(frame, roles, getattr(roles, role), role, seen)
        query, _ = self._encode("query", self._query_key(frame), frame, roles.query_text, seen)
        item_key = frame[roles.item] if roles.item is not None else _nothing(frame)
        item, fresh = self._encode("item", item_key, frame, roles.item_text, seen)
        for name, column in roles.images.items():
            seen.images.setdefault(IMAGE + name, []).extend(frame[column].fillna("").iloc[fresh].tolist())
        for name, column in roles.vectors.items():
            seen.vectors.setdefault(name, []).extend(frame[column].fillna("").iloc[fresh].tolist())
        user = np.zeros(len(frame), dtype=np.int64)
        if roles.user is not None:
            user, _ = seen.codes["user"].encode(frame[roles.user].fillna(""))
        if roles.one_row_requests or not (roles.request or roles.query or roles.query_text):
            request = seen.rows + np.arange(len(frame))
        elif roles.request is not None:
            key = frame[roles.request].fillna("")
            key = key + SEPARATOR + frame[PART] if PART in roles.categorical else key
            request, _ = seen.codes["request"].encode(key)
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
            cells.no_missing(frame, self.roles, column, f"{side}_text.{name}", seen)
        codes, fresh = seen.codes[side].encode(keys.fillna(""))
        texts = frame.iloc[fresh][list(fields.values())].fillna("")
        texts.columns = pd.Index(list(fields))
        seen.texts[side].append(texts)
        return codes, fresh

    # --- the whole ---------------------------------------------------------------------------------------------

    def _hand_over(
        self, columns: dict[str, NDArray[Any]], kept: NDArray[np.bool_], seen: Collected, writer: StoreWriter
    ) -> None:
        if self.labels_required:
            del columns[FILE_ROW]
        writer.entities("queries", seen.entity("query"))
        writer.entities("items", seen.entity("item") | seen.images)
        writer.entities("users", {"key": seen.codes["user"].keys or [""]})
        for name, texts in seen.vectors.items():
            writer.vectors(name, parsed(name, texts))
        writer.notes |= seen.notes
        writer.notes["categories"] = {name: codes.keys for name, codes in seen.categories.items()}
        writer.notes["numeric"] = list(self.roles.numeric)
        for chunk in in_request_order(columns, kept):
            writer.impressions(chunk)


def _nothing(frame: pd.DataFrame) -> pd.Series[Any]:
    """The key of what a log does not tell apart."""
    return pd.Series([""] * len(frame), index=frame.index, dtype=object)
