"""A piece of a table becomes rows of a log: those that belong, joined, checked, filled, their identifiers numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources import cells
from funneltune.data.sources.codes import Codes, FirstTexts
from funneltune.data.sources.collected import FILE_ROW, SEPARATOR, Collected
from funneltune.data.sources.column_rules import Schema
from funneltune.data.sources.joins import Join
from funneltune.data.sources.pictures import IMAGE
from funneltune.data.sources.reading import PART, Piece
from funneltune.data.sources.roles import Roles
from funneltune.data.store import DELAY
from funneltune.funnel import TaskFunnel

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Intake:
    """What every piece of one pass over a table goes through.

    Args:
        roles: The column map.
        joins: Side tables.
        schema: What columns must hold.
        labelled: Whether labels are read; without them every row belongs to the log.
        tasks: Whose labels.
        seen: Where it all goes.
    """

    roles: Roles
    joins: Sequence[Join]
    schema: Schema
    labelled: bool
    tasks: TaskFunnel
    seen: Collected

    def take(self, piece: Piece) -> None:
        """Add a piece's rows; those with faults only where the log is refused anyway."""
        seen = self.seen
        frame = self._belonging(piece)
        if len(frame):
            frame = self._joined(frame)
            self.schema.check(frame, self.roles, seen)
            frame = cells.filled(frame, self.roles, seen)
            self._require_identifiers(frame)
            numbers, labels = self._numbers(frame), {}
            if self.labelled:
                labels = self._labels(frame, numbers)
            if seen.quarantine is not None and seen.bad.any():
                stays = ~seen.bad
                frame, seen.offset = frame[stays], seen.offset[stays]
                numbers, labels = ({n: v[stays] for n, v in columns.items()} for columns in (numbers, labels))
            self._add(frame, numbers, labels)
        if seen.quarantine is not None:
            seen.quarantine.flush(seen.place)

    # --- which rows --------------------------------------------------------------------------------------------------

    def _belonging(self, piece: Piece) -> pd.DataFrame:
        """Rows that belong to the log and have as many fields as the header. A row that lost some of its own may not
        belong; of one that has too many, no column says so.
        """
        seen, frame = self.seen, piece.frame.reset_index(drop=True)
        first = seen.begin(piece.file, len(frame))
        ragged = piece.ragged
        long = ragged & (piece.fields > piece.width) if piece.fields is not None else ragged
        belongs = np.ones(len(frame), dtype=bool)
        for column, values in self.roles.where.items() if self.labelled else ():
            inside = frame[column].isin(values).to_numpy(bool) | long
            seen.count("rows outside where", column, int((belongs & ~inside).sum()))
            belongs &= inside
        seen.belonging += int(belongs.sum())
        numbers = first + np.arange(len(frame))
        if (odd := np.flatnonzero(belongs & ragged)).size:
            assert piece.fields is not None
            self._tell_ragged(numbers[odd], piece.fields[odd], piece.width)
        stays = np.flatnonzero(belongs & ~ragged)
        seen.offset, seen.bad = numbers[stays], np.zeros(len(stays), dtype=bool)
        return frame.iloc[stays]

    def _tell_ragged(self, rows: NDArray[np.int64], fields: NDArray[np.int64], width: int) -> None:
        if self.seen.quarantine is not None:
            told = [f"{found} fields" for found in fields]
            self.seen.quarantine.add(rows, "", told, f"a row must have {width} fields, as the header")
            return
        self.seen.faults.append(
            f"{self.seen.spelt(int(rows[0]))} has {fields[0]} fields, the header {width} ({len(rows)} such); quote the "
            "texts that hold the separator, or leave such rows out, bad_rows: 0.01 under source"
        )

    def _joined(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With the side tables' columns; a row without a match is a fault, unless `fill` has what it lacks."""
        seen, fill = self.seen, self.roles.fill
        for join in self.joins:
            frame, lost = join.joined(frame)
            if not (uncovered := join.uncovered(fill)):
                seen.count("rows without a match", join.files.path.name, int(lost.sum()))
                continue
            telling = partial(_unmatched, join, uncovered[0])
            cells.fault(lost, frame, join.by[0], self.roles, seen, f"in {join.files.path.name}", telling)
            frame, seen.offset, seen.bad = frame[~lost], seen.offset[~lost], seen.bad[~lost]
        return frame

    # --- what they hold ----------------------------------------------------------------------------------------------

    def _require_identifiers(self, frame: pd.DataFrame) -> None:
        roles, seen = self.roles, self.seen
        named = {role: getattr(roles, role) for role in ("query", "item", "user", "request")}
        named |= {f"query_text.{name}": column for name, column in roles.query_text.items()}
        named |= {f"item_text.{name}": column for name, column in roles.item_text.items()}
        for role, column in named.items():
            if column is not None:
                cells.no_missing(frame, roles, column, role, seen)

    def _numbers(self, frame: pd.DataFrame) -> Columns:
        roles, seen = self.roles, self.seen
        found = {role: cells.number(frame, roles, column, role, seen) for role, column in roles.single.items()}
        for column in roles.numeric:
            found[column] = cells.number(frame, roles, column, "numeric", seen).astype(np.float32)
        return found

    def _labels(self, frame: pd.DataFrame, numbers: Columns) -> Columns:
        found: Columns = {}
        for task in self.tasks.names:
            found[task] = cells.label(frame, self.roles, self.tasks[task], self.seen)
            if task in self.roles.delays:
                time = numbers.get("time")
                found[f"{DELAY}{task}"] = cells.delay(frame, self.roles, task, self.seen, found[task], time)
        return found

    def _add(self, frame: pd.DataFrame, numbers: Columns, labels: Columns) -> None:
        """Number the identifiers of rows that stay, and keep all columns."""
        seen = self.seen
        if not len(frame):
            return
        found = self._identified(frame) | numbers
        for column in self.roles.categorical:
            codes, _ = seen.categories.setdefault(column, Codes()).encode(frame[column].fillna(""))
            found[column] = codes.astype(np.int32)
        found |= labels if self.labelled else {task: np.zeros(len(frame), np.int8) for task in self.tasks.names}
        for name, values in found.items():
            seen.columns.add(name, values)
        seen.rows += len(frame)

    def _identified(self, frame: pd.DataFrame) -> Columns:
        """Request, user, query and item of each row as numbers; new queries and items leave their texts."""
        roles, seen = self.roles, self.seen
        query, _ = self._encode("query", self._query_key(frame), frame, roles.query_text)
        item_key = frame[roles.item] if roles.item is not None else _nothing(frame)
        item, fresh = self._encode("item", item_key, frame, roles.item_text)
        for name, column in roles.images.items():
            seen.images.setdefault(IMAGE + name, []).extend(frame[column].fillna("").iloc[fresh].tolist())
        for name, column in roles.vectors.items():
            seen.vectors.setdefault(name, []).extend(frame[column].fillna("").iloc[fresh].tolist())
        user = np.zeros(len(frame), dtype=np.int64)
        if roles.user is not None:
            user, _ = seen.codes["user"].encode(frame[roles.user].fillna(""))
        if not roles.tells_requests:
            request = seen.rows + np.arange(len(frame))
        elif roles.request is not None:
            key = frame[roles.request].fillna("")
            key = key + SEPARATOR + frame[PART] if PART in roles.categorical else key
            request, _ = seen.codes["request"].encode(key)
        else:
            pairs = pd.Series([f"{u} {q}" for u, q in zip(user.tolist(), query.tolist(), strict=True)], dtype=object)
            request, _ = seen.codes["request"].encode(pairs)
        return {"request": request, "user": user, "query": query, "item": item, FILE_ROW: seen.offset}

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
        self, side: str, keys: pd.Series[Any], frame: pd.DataFrame, fields: Mapping[str, str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        codes, fresh = self.seen.codes[side].encode(keys.fillna(""))
        texts = frame.iloc[fresh][list(fields.values())].fillna("")
        texts.columns = pd.Index(list(fields))
        self.seen.texts[side].append(texts)
        if getattr(self.roles, side) is not None:  # else the texts are the key
            for name, column in fields.items():
                firsts = self.seen.first_texts.setdefault((side, name), FirstTexts())
                firsts.add(frame[column].fillna(""), codes, fresh)
        return codes, fresh


def _unmatched(join: Join, column: str, value: str, row: str, count: int) -> str:
    return (
        f"{row}: {join.by[0]}={value}{' with its ' + ', '.join(join.by[1:]) if join.by[1:] else ''} has no match in "
        f"{join.files.path.name} ({count} such); mend one of the files, or write fill: {{{column}: VALUE}} under source"
    )


def _nothing(frame: pd.DataFrame) -> pd.Series[Any]:
    """The key of what a log does not tell apart."""
    return pd.Series([""] * len(frame), index=frame.index, dtype=object)
