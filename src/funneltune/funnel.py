"""The tasks of a funnel and how they condition on one another. Torch-free, so that reports can read it.

A `Task` is one label to predict. `given` lists the edges that it is conditional on: `"click"` means that the click
happened, `"!cart"` that the cart did not. Tasks form a directed acyclic graph; a task is *observed* on a row where all
its edges hold (its space), and its joint event is the task together with everything on the way to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError


@dataclass(frozen=True)
class Edge:
    """One condition on the way to a task: task `name` happened, or (`holds=False`) did not."""

    name: str
    holds: bool = True

    @classmethod
    def parse(cls, text: str) -> Edge:
        """`"click"` or `"!cart"`."""
        return cls(text[1:], holds=False) if text.startswith("!") else cls(text)

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return self.name if self.holds else f"!{self.name}"


@dataclass(frozen=True)
class Task:
    """One binary label to predict, conditional on `given`.

    `rate` is what tables call p(task | given), `joint_rate` what they call p(task and all its edges): for a purchase
    given a click, `cvr` and `ctcvr`. Left empty, both are spelt out from the names.
    """

    name: str
    given: tuple[str, ...] = ()
    rate: str = ""
    joint_rate: str = ""

    def __post_init__(self) -> None:
        """Normalise what a config hands over (lists, None) and fill the names."""
        object.__setattr__(self, "given", tuple(self.given or ()))
        if not self.name.isidentifier():
            raise ConfigError(
                f"tasks: name={self.name!r} is not a plain word; use letters, digits and _, as in a column name."
            )
        object.__setattr__(self, "rate", self.rate or self.conditional)
        object.__setattr__(self, "joint_rate", self.joint_rate or self.joint)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """`given`, parsed."""
        return tuple(Edge.parse(text) for text in self.given)

    @property
    def conditional(self) -> str:
        """Column stem of p(task | given): `click`, `purchase_given_click`."""
        return self.name + (f"_given_{self._path}" if self.given else "")

    @property
    def joint(self) -> str:
        """Column stem of p(task and its edges): `click`, `click_and_purchase`."""
        return f"{self._path}_and_{self.name}" if self.given else self.name

    @property
    def _path(self) -> str:
        return "_and_".join(("" if edge.holds else "no_") + edge.name for edge in self.edges)


@dataclass(frozen=True)
class TaskFunnel:
    """Tasks in an order in which every edge points to an earlier one."""

    tasks: tuple[Task, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        """Refuse an empty funnel, a repeated name, an unknown edge."""
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if not self.tasks:
            raise ConfigError("tasks is empty; name at least one label to predict.")
        seen: set[str] = set()
        for task in self.tasks:
            if task.name in seen:
                raise ConfigError(f"tasks: {task.name!r} is named twice; each task needs a name of its own.")
            for edge in task.edges:
                if edge.name not in seen:
                    raise ConfigError(
                        f"tasks.{task.name}.given={str(edge)!r} names no earlier task "
                        f"(earlier: {', '.join(sorted(seen)) or 'none'}); list tasks in funnel order."
                    )
            seen.add(task.name)

    @classmethod
    def from_config(cls, tasks: Mapping[str, Mapping[str, object] | None]) -> TaskFunnel:
        """From a config mapping of task name to its fields: `{click: {}, purchase: {given: [click], rate: cvr}}`."""
        built = []
        for name, fields in tasks.items():
            unknown = set(fields or {}) - {"given", "rate", "joint_rate"}
            if unknown:
                raise ConfigError(
                    f"tasks.{name}: unknown field {sorted(unknown)[0]!r}; a task takes given, rate, joint_rate."
                )
            built.append(Task(name=name, **(fields or {})))  # type: ignore[arg-type]
        return cls(tuple(built))

    def to_config(self) -> dict[str, dict[str, object]]:
        """The inverse of `from_config`, for records."""
        return {t.name: {"given": list(t.given), "rate": t.rate, "joint_rate": t.joint_rate} for t in self.tasks}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Task names in funnel order."""
        return tuple(task.name for task in self.tasks)

    def __getitem__(self, name: str) -> Task:
        """The task called `name`."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    def way_to(self, name: str) -> tuple[Edge, ...]:
        """Every edge on the way to a task, its ancestors' included, earliest first and without repeats."""
        way: dict[Edge, None] = {}
        for edge in self[name].edges:
            for earlier in self.way_to(edge.name):
                way[earlier] = None
            way[edge] = None
        return tuple(way)

    def observed(self, labels: Mapping[str, NDArray[np.generic]], name: str) -> NDArray[np.bool_]:
        """Rows on which a task's label is observed: those where every edge on the way to it holds.

        `labels` holds one 0/1 array per task; the result has their shape.
        """
        rows = np.ones(np.shape(labels[name]), dtype=bool)
        for edge in self.way_to(name):
            rows &= (np.asarray(labels[edge.name]) == 1) == edge.holds
        return rows
