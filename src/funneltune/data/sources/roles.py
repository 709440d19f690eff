"""Which column of a table plays which role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.lateness import Lateness
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import Task, TaskFunnel

TRUE_FALSE = {"True": "1", "False": "0", "true": "1", "false": "0"}


@dataclass(frozen=True)
class Label:
    """A task's label: a column as it is, or what is made of it.

    Binary: a 0/1 column; a number that must reach `at_least`; a value that must be one of `equals`; with `present`,
    whether the column holds anything (the moment of a purchase, empty where there was none). Ordinal and multiclass:
    one of the task's levels. Regression: a number, or its `transform` log1p.
    """

    column: str
    at_least: float | None = None
    equals: tuple[str, ...] | None = None
    transform: str | None = None
    present: bool = field(default=False, repr=False)
    """No part of what maps without it are known by."""

    @classmethod
    def parse(cls, task: str, node: Any) -> Label:
        """`purchase: bought`, `relevant: {column: relevance, at_least: 2.33}`, `paid: {column: state, equals: yes}`."""
        if isinstance(node, str):
            return cls(node)
        known = {"column", "at_least", "equals", "transform", "present"}
        if not isinstance(node, Mapping) or set(node) - known or "column" not in node:
            raise ConfigError(
                f"data.source.labels.{task}={node!r} must be a column name, or {{column: ...}} with at_least, equals, "
                "present or transform."
            )
        equals = node.get("equals")
        if node.get("present") not in (None, True):
            raise ConfigError(f"data.source.labels.{task}.present={node['present']!r} must be true, or be left out.")
        if node.get("present") and set(node) != {"column", "present"}:
            raise ConfigError(
                f"data.source.labels.{task}={node!r}: present asks whether the column holds anything, whatever it is; "
                "leave the other rules out."
            )
        if node.get("transform") not in (None, "log1p"):
            raise ConfigError(f"data.source.labels.{task}.transform={node['transform']!r} must be log1p or null.")
        return cls(
            str(node["column"]),
            None if node.get("at_least") is None else float(node["at_least"]),
            None if equals is None else _texts(equals),
            node.get("transform"),
            bool(node.get("present")),
        )

    def rule(self, task: Task) -> str:
        """What a value must be, in words."""
        if task.has_levels:
            return f"one of {', '.join(task.levels)}"
        if task.kind == "regression" or self.at_least is not None:
            return "a finite number" + (" above -1" if self.transform else "")
        return "a value" if self.equals is not None else "0 or 1 (or set at_least, or equals)"

    def values(self, raw: pd.Series[Any], task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
        """The label of each row as a number, and which rows break the rule."""
        if self.present:
            there = raw.notna() & (raw.str.strip() != "")
            return there.to_numpy(np.float64, na_value=0.0), np.zeros(len(raw), dtype=bool)
        if self.equals is not None and not task.has_levels:
            return raw.isin(self.equals).to_numpy(np.float64), raw.isna().to_numpy(bool)
        if task.has_levels:
            number = {level: float(i) for i, level in enumerate(task.levels)}
            found = raw.map(number)
            rest = pd.to_numeric(raw.where(found.isna()), errors="coerce").map(lambda v: number.get(f"{v:g}"))
            codes = found.fillna(rest).to_numpy(np.float64, na_value=np.nan)
            return np.nan_to_num(codes), np.isnan(codes)
        numbers = pd.to_numeric(raw.replace(TRUE_FALSE), errors="coerce").to_numpy(np.float64, na_value=np.nan)
        if task.kind == "regression":
            wrong = ~np.isfinite(numbers) | (numbers <= -1 if self.transform else False)
            return (np.log1p(np.where(wrong, 0.0, numbers)) if self.transform else numbers), wrong
        if self.at_least is not None:
            return (numbers >= self.at_least).astype(np.float64), ~np.isfinite(numbers)
        return numbers, ~np.isin(numbers, (0.0, 1.0))


@dataclass(frozen=True)
class Roles:
    """The column map of a table source, checked against itself."""

    item: str | None
    request: str | None
    user: str | None
    query: str | None
    query_text: Mapping[str, str]
    item_text: Mapping[str, str]
    labels: Mapping[str, Label]
    categorical: Sequence[str]
    numeric: Sequence[str]
    single: Mapping[str, str]
    """Role -> column of the numbers that have a name of their own: position, time, price, grade, propensity."""
    vectors: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> the values of rows that belong to the log."""
    fill: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    """Column -> the outcome after which it is written."""
    one_row_requests: bool = False
    grades: Mapping[str, float] = field(default_factory=dict, repr=False)
    """Word of the grade's column -> number; empty: it holds numbers."""
    delays: Mapping[str, Lateness] = field(default_factory=dict, repr=False)
    """Task -> how long after the impression its event came. No part of what maps without it are known by."""
    images: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Name -> column of the item's picture file. Likewise."""

    def __post_init__(self) -> None:
        """Refuse a map that cannot make a log."""
        if self.one_row_requests and self.request:
            raise ConfigError("data.source: request and one_row_requests exclude one another; remove one.")
        self._check_delays()
        if self.grades and "grade" not in self.single:
            raise ConfigError("data.source.grades says what words of data.source.grade are worth; name that column.")
        for task, label in self.labels.items():
            if label.column in self.inputs():
                raise ConfigError(
                    f"data.source.labels.{task}: column {label.column!r} is also an input; a model that sees its label "
                    "learns nothing, remove one."
                )

    def _check_delays(self) -> None:
        for task, delay in self.delays.items():
            if delay.column in self.inputs():
                raise ConfigError(
                    f"data.source.delays.{task}: column {delay.column!r} is also an input; it tells the label, remove "
                    "it there."
                )
            if delay.unit is None and "time" not in self.single:
                raise ConfigError(
                    f"data.source.delays.{task}.at={delay.column} needs the time of the impression; map "
                    "data.source.time."
                )

    @property
    def persons(self) -> frozenset[str]:
        """Columns that say who someone is or what they asked: no message tells what one holds."""
        named = {self.user, self.query, self.request, *self.query_text.values()}
        return frozenset(name for name in named if name is not None)

    @property
    def tells_requests(self) -> bool:
        """Whether rows share requests; else each is one of its own."""
        return not self.one_row_requests and bool(self.request or self.query or self.query_text)

    def inputs(self) -> set[str]:
        """Columns that a model may see."""
        texts = (*self.query_text.values(), *self.item_text.values())
        return {*texts, *self.categorical, *self.numeric, *self.vectors.values()}

    def columns(self, *, labels: bool) -> list[str]:
        """Every column that is read, each once."""
        named = [self.request, self.user, self.query, self.item, *self.query_text.values(), *self.item_text.values()]
        named += [*self.categorical, *self.numeric, *self.single.values(), *self.vectors.values()]
        named += self.images.values()
        if labels:
            named += [*(label.column for label in self.labels.values()), *self.where]
            named += [delay.column for delay in self.delays.values()]
        return list(dict.fromkeys(name for name in named if name is not None))

    def within(self, found: Set[str]) -> Roles:
        """The map without the numbers and categories that are not among the columns found."""
        gone = {*self.single.values(), *self.categorical, *self.numeric} - found
        return replace(
            self,
            single={role: column for role, column in self.single.items() if column not in gone},
            categorical=[column for column in self.categorical if column not in gone],
            numeric=[column for column in self.numeric if column not in gone],
            fill={column: value for column, value in self.fill.items() if column not in gone},
        )

    def check(self, found: Sequence[str], tasks: TaskFunnel, further: Iterable[str] = (), *, labels: bool) -> None:
        """Refuse tasks without a label column, columns that the file does not have, and inputs that are written after
        an outcome that is to be predicted; all in one line.
        """
        faults = []
        if labels:
            for task in tasks.names:
                if task not in self.labels:
                    faults.append(f"task {task!r} has no label; add data.source.labels.{task}")
                elif self.labels[task].present and not tasks[task].binary:
                    faults.append(f"task {task!r} is no yes or no, which data.source.labels.{task}.present tells")
            for column, outcome in self.after.items():
                if column in self.inputs() and outcome in tasks.names:
                    faults.append(
                        f"column {column!r} is written after {outcome!r} (data.source.after) and would tell it; remove "
                        "the column or the task"
                    )
        wanted = list(dict.fromkeys((*self.columns(labels=labels), *self.fill, *further)))
        missing = [column for column in wanted if column not in found]
        near = {column: get_close_matches(column, list(found), 1, cutoff=0.75) for column in missing}
        # without a name that is known, the first row may be no header, and tell who asked what
        headless = bool(wanted) and len(missing) == len(wanted) and 2 * sum(map(bool, near.values())) < len(wanted)
        for column in missing:
            hint = f"; did you mean {near[column][0]!r}?" if near[column] and not headless else ""
            faults.append(f"column {column!r} is missing{hint}")
        if missing and len(found) == 1 and (marks := [mark for mark in ";\t|," if mark in found[0]]):
            faults = [f"the header reads as one column; write separator: {marks[0]!r} under source"]
        elif headless:
            faults.append(
                f"the first row names none of them ({len(found)} columns); if it is no header, write columns: [NAME, "
                "...] under source"
            )
        elif missing:
            faults[-1] += f"; there are {', '.join(found)}"
        if faults:
            raise DataError("; ".join(dict.fromkeys(faults)))


def parse_where(node: Mapping[str, Any] | None) -> dict[str, tuple[str, ...]]:
    """`{view: 1}`, `{country: [DE, AT]}`."""
    return {str(column): _texts(values) for column, values in (node or {}).items()}


def _texts(values: Any) -> tuple[str, ...]:
    several = values if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    return tuple(str(value) for value in several)
