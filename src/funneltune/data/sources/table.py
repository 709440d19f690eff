"""A table with a column map: a new data set is a YAML file and no code."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.pictures import Named
from funneltune.data.sources.collected import FILE_ROW, Collected, in_request_order, parsed
from funneltune.data.sources.column_rules import Schema
from funneltune.data.sources.intake import Intake
from funneltune.data.sources.joins import parse_joins
from funneltune.data.sources.lateness import Lateness
from funneltune.data.sources.pictures import IMAGE, describe_files, files_of, folder_of
from funneltune.data.sources.quarantine import BadRows, Quarantine
from funneltune.data.sources.reading import PART, TableFiles
from funneltune.data.sources.repeats import Repeats
from funneltune.data.sources.roles import Label, Roles, parse_where
from funneltune.data.sources.spilled import Columns
from funneltune.data.sources.strictness import Strictness
from funneltune.data.store import LogStore
from funneltune.data.write import StoreWriter
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel

LEFT_OUT = "rows left out for their faults"
"""The note of a store that tells of its quarantine."""
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
        schema: Column -> what its cells must hold: {type, least, most, one_of, pattern, null_rate}; see `ColumnRule`.
        duplicates: What to do with a row that repeats another (request, item, position; see `Repeats`): `refuse`,
            `drop`, `keep` and count; None: they are not looked for.
        bad_rows: Rows with faults that are left out and listed in a file, at most: a share of the log below 1, a number
            of rows, or {limit, folder}; None: one such row refuses the log. See `BadRows`.
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
        schema: Mapping[str, Any] | None = None,
        duplicates: str | None = None,
        bad_rows: float | Mapping[str, Any] | None = None,
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
        self.joins = parse_joins(joins, self.files, self.roles)
        self.schema, self.bad_rows = Schema.parse(schema), BadRows.parse(bad_rows)
        self.repeats = Repeats.parse(duplicates, self.roles)
        self.unknown: list[str] = []
        """Numbers that the map has and this file does not: a place in the page would be made up from the order."""

    def unlabelled(self, path: Path) -> Table:
        """The same column map over another file whose labels are not read (nor needed), every row of it. Numbers and
        categories that it does not have are unknown; a model that reads one says so.
        """
        other = copy(self)
        other.files, other.labels_required = replace(self.files, path=path, words={}, named="input"), False
        other.joins = tuple(replace(join, where={}) for join in self.joins)
        joined = [column for join in other.joins for column in join.columns]
        other.roles = self.roles.within({*other.files.header(), *joined} - {PART})
        other.unknown = [role for role in self.roles.single if role not in other.roles.single]
        other.schema, other.bad_rows = self.schema.of(other.roles.columns(labels=False)), None
        return other

    def describe(self) -> dict[str, Any]:
        """Column map and the content's sha256: a file that changes is another log, one that moves is not."""
        more: dict[str, Any] = {"delays": repr(self.roles.delays)} if self.roles.delays else {}
        if self.files.words or self.files.rename or not self.files.quotes:
            more["reading"] = repr((self.files.words, self.files.rename, self.files.quotes))
        more |= {"joins": [join.describe() for join in self.joins]} if self.joins else {}
        more |= {"images": describe_files(self.roles.images, self.image_folder)} if self.roles.images else {}
        more |= {"grades": repr(self.roles.grades)} if self.roles.grades else {}
        more |= {"schema": self.schema.describe()} if self.schema.rules else {}
        more |= {"duplicates": self.repeats.word} if self.repeats.word is not None else {}
        more |= {"bad_rows": self.bad_rows.describe()} if self.bad_rows is not None else {}
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
            DataError: with all faults found, each naming column, row, value and rule; or, beyond `bad_rows`, with the
                count of each.
        """
        with tempfile.TemporaryDirectory(dir=writer.folder) as aside, ExitStack() as opened:
            away = None if self.bad_rows is None else opened.enter_context(Quarantine(self.bad_rows, Path(aside)))
            seen = self.collect(writer.tasks, Path(aside), away)
            columns = seen.columns.whole()
            kept = np.ones(seen.rows, dtype=bool)
            if self.labels_required and seen.rows:
                of_labels = {task: label.column for task, label in self.roles.labels.items()}
                kept = self.strict.settle(columns, seen, writer.tasks, of_labels)
                kept = self.repeats.settle(columns, kept, self.roles, seen)
                self.schema.settle(seen)
            self._settle_quarantine(seen, int(kept.sum()), writer.quarantine)
            self.refuse_faults(seen)
            self._hand_over(columns, kept, seen, writer)

    def collect(self, tasks: TaskFunnel, aside: Path | None = None, away: Quarantine | None = None) -> Collected:
        """One pass over the table; its columns grow in the folder `aside`, or in memory (a log may be longer).
        Rows with faults go `away`, or their faults are gathered.

        Raises:
            DataError: if columns or rows are missing altogether.
        """
        wanted = self._columns(tasks)
        if faults := self.strict.check(tasks):
            raise ConfigError("; ".join(faults))
        seen = Collected(columns=Columns(aside), quarantine=away)
        intake = Intake(self.roles, self.joins, self.schema, self.labels_required, tasks, seen)
        for piece in self.files.pieces(wanted):
            intake.take(piece)
        if not seen.belonging:
            left = f" of {seen.read} that data.source.where keeps" if seen.read else ""
            raise DataError(
                f"{self.files.named}={self.files.path} has a header but no rows{left}; a log needs at least one."
            )
        seen.tell_several()
        if self.roles.after:
            seen.notes["written after the outcome"] = dict(self.roles.after)
        return seen

    def _settle_quarantine(self, seen: Collected, rows: int, target: Path) -> None:
        """Write what was left out to `target`, and tell of it."""
        if seen.quarantine is None:
            return
        seen.quarantine.flush(seen.place)
        note, refused = seen.quarantine.settle(rows, target)
        if refused is not None:
            seen.faults.append(refused)
        if note:
            seen.notes[LEFT_OUT] = note
            logging.getLogger("funneltune").warning(
                "%s: %s %s left out, see %s.",
                self.files.path.name,
                note["rows"],
                "row has a fault and is" if note["rows"] == 1 else "rows have faults and are",
                note["file"],
            )

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
        self.roles.check(found, tasks, self.schema.rules, labels=self.labels_required)
        keys = [column for join in self.joins for column in join.by]
        wanted = (*self.roles.columns(labels=self.labels_required), *keys, *self.schema.rules)
        return [column for column in dict.fromkeys(wanted) if column in own]

    def refuse_faults(self, seen: Collected) -> None:
        """All faults of a pass in one line."""
        if seen.faults:
            more = f"; and {len(seen.faults) - SHOWN} more" if len(seen.faults) > SHOWN else ""
            where = f"{self.files.path.name} (rows count from 1, a header does not)"
            raise DataError(f"{where}: " + "; ".join(seen.faults[:SHOWN]) + more)

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
        if self.unknown:
            writer.notes["unknown"] = self.unknown
        writer.notes["numeric"] = list(self.roles.numeric)
        for chunk in in_request_order(columns, kept):
            writer.impressions(chunk)
