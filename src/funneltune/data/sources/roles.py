"""Which column of a table plays which role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel


@dataclass(frozen=True)
class Label:
    """A task's label: a 0/1 column, or a number that must reach `at_least`."""

    column: str
    at_least: float | None = None

    @classmethod
    def parse(cls, task: str, node: Any) -> Label:
        """`purchase: bought` or `relevant: {column: relevance, at_least: 2.33}`."""
        if isinstance(node, str):
            return cls(node)
        if not isinstance(node, Mapping) or set(node) - {"column", "at_least"} or "column" not in node:
            raise ConfigError(
                f"data.source.labels.{task}={node!r} must be a column name, or {{column: ..., at_least: ...}}."
            )
        return cls(str(node["column"]), None if node.get("at_least") is None else float(node["at_least"]))


@dataclass(frozen=True)
class Roles:
    """The column map of a table source, checked against itself."""

    item: str
    request: str | None
    user: str | None
    query: str | None
    query_text: Mapping[str, str]
    item_text: Mapping[str, str]
    labels: Mapping[str, Label]
    categorical: Sequence[str]
    numeric: Sequence[str]
    single: Mapping[str, str]
    """Role -> column of the numbers that have a name of their own: position, time, price, grade."""

    def __post_init__(self) -> None:
        """Refuse a map that cannot make a log."""
        if not self.query_text and not self.query:
            raise ConfigError("data.source: name a query column (query) or a query text (query_text).")
        if not self.item_text:
            raise ConfigError("data.source.item_text is empty; name at least one text column, as {title: column}.")
        inputs = {*self.query_text.values(), *self.item_text.values(), *self.categorical, *self.numeric}
        for task, label in self.labels.items():
            if label.column in inputs:
                raise ConfigError(
                    f"data.source.labels.{task}: column {label.column!r} is also an input; a model that sees its label "
                    "learns nothing, remove one."
                )

    def columns(self, *, labels: bool) -> list[str]:
        """Every column that is read, each once."""
        named = [self.request, self.user, self.query, self.item, *self.query_text.values(), *self.item_text.values()]
        named += [*self.categorical, *self.numeric, *self.single.values()]
        if labels:
            named += [label.column for label in self.labels.values()]
        return list(dict.fromkeys(name for name in named if name is not None))

    def check(self, found: Sequence[str], tasks: TaskFunnel, *, labels: bool) -> None:
        """Refuse tasks without a label column, and columns that the file does not have, all in one line."""
        faults = []
        if labels:
            for task in tasks.names:
                if task not in self.labels:
                    faults.append(f"task {task!r} has no label; add data.source.labels.{task}")
        for column in self.columns(labels=labels):
            if column not in found:
                near = get_close_matches(column, list(found), 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(found)}"
                faults.append(f"column {column!r} is missing; {hint}")
        if faults:
            raise DataError("; ".join(faults))
