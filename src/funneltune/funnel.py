"""The tasks of a funnel and how they condition on one another. Torch-free, so that reports can read it.

A `Task` is one label to predict. `given` lists the edges that it is conditional on: `"click"` means that the click
happened, `"!cart"` that the cart did not. Tasks form a directed acyclic graph; a task is *observed* on a row where all
its edges hold (its space), and its joint event is the task together with everything on the way to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError

Kind = Literal["binary", "ordinal", "multiclass", "regression"]
UNKNOWN = -1
"""In place of a level's number: nobody can tell the label, and the task is not observed there."""


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
    """One label to predict, conditional on `given`.

    `kind`: `binary` (0 or 1), `ordinal` (one of `levels`, lowest first: stars), `multiclass` (one of `levels`, in any
    order: the category needed next), `regression` (a number: money spent). Only binary tasks can be edges of others.
    `rate` is what tables call p(task | given), `joint_rate` what they call p(task and all its edges): for a purchase
    given a click, `cvr` and `ctcvr`. Left empty, both are spelt out from the names; a task that is not binary has no
    joint event. `window`: days after the impression from which on the label is final; an event that comes later does
    not count. None: the label is final at once. `next`: a column of the items (`category`); the label then is in no
    log but follows from it: the column's value at the shopper's next purchase (the funnel's last binary task) from the
    request on, that of the request itself included, as far as the request's own split tells. Only multiclass.
    """

    name: str
    given: tuple[str, ...] = ()
    rate: str = ""
    joint_rate: str = ""
    kind: Kind = "binary"
    levels: tuple[str, ...] = ()
    window: float | None = None
    next: str = ""

    def __post_init__(self) -> None:
        """Normalise what a config hands over (lists, None) and fill the names."""
        object.__setattr__(self, "given", tuple(self.given or ()))
        object.__setattr__(self, "levels", tuple(str(level) for level in self.levels or ()))
        self._check_kind()
        self._check_window()
        object.__setattr__(self, "next", str(self.next or ""))
        if self.next and (self.kind != "multiclass" or self.given):
            raise ConfigError(
                f"tasks.{self.name}.next={self.next} asks which value comes next, at any request; it needs "
                "kind: multiclass and no edges (given: [])."
            )
        if not self.name.isidentifier():
            raise ConfigError(
                f"tasks: name={self.name!r} is not a plain word; use letters, digits and _, as in a column name."
            )
        if self.name == "shared":
            raise ConfigError("tasks: 'shared' names what all tasks read; give the task another name.")
        object.__setattr__(self, "rate", self.rate or self.conditional)
        object.__setattr__(self, "joint_rate", self.joint_rate or self.joint)

    def _check_kind(self) -> None:
        where = f"tasks.{self.name}"
        if self.kind not in get_args(Kind):
            raise ConfigError(f"{where}.kind={self.kind!r} must be one of {', '.join(get_args(Kind))}.")
        if not self.has_levels and self.levels:
            raise ConfigError(f"{where}.levels is for ordinal and multiclass tasks; remove it from kind={self.kind}.")
        if self.has_levels and (len(self.levels) < 2 or len(set(self.levels)) < len(self.levels)):
            raise ConfigError(
                f"{where}.levels={list(self.levels)} must list the label's values, at least two and each once"
                f"{', lowest first' if self.kind == 'ordinal' else ''}."
            )

    def _check_window(self) -> None:
        where = f"tasks.{self.name}.window={self.window!r}"
        if self.window is None:
            return
        if isinstance(self.window, bool) or not isinstance(self.window, (int, float)) or not 0 < self.window < np.inf:
            raise ConfigError(f"{where} must be a number of days above 0, or null where labels are final at once.")
        if not self.binary:
            raise ConfigError(f"{where} is for binary tasks; remove it from kind={self.kind}.")
        object.__setattr__(self, "window", float(self.window))

    @property
    def has_levels(self) -> bool:
        """Whether the label is one of several named values."""
        return self.kind in ("ordinal", "multiclass")

    @property
    def binary(self) -> bool:
        """Whether the label is 0 or 1."""
        return self.kind == "binary"

    @property
    def outputs(self) -> int:
        """Numbers that a head gives for it: a logit, K - 1 thresholds, K classes, a mean."""
        return {"ordinal": len(self.levels) - 1, "multiclass": len(self.levels)}.get(self.kind, 1)

    @property
    def predicted(self) -> tuple[str, ...]:
        """Columns of its predictions: `p_...` are probabilities, `mean_...` an expected value."""
        if self.has_levels:
            return tuple(f"p_{self.conditional}[{level}]" for level in self.levels)
        if self.kind == "regression":
            return (f"mean_{self.conditional}",)
        return tuple(dict.fromkeys((f"p_{self.conditional}", f"p_{self.joint}")))

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
                if not self[edge.name].binary:
                    raise ConfigError(
                        f"tasks.{task.name}.given={str(edge)!r}: an edge must be a binary task, {edge.name!r} is "
                        f"{self[edge.name].kind}; derive a binary task from it (at_least, equals)."
                    )
            seen.add(task.name)
        if (asking := [task.name for task in self.tasks if task.next]) and not self.binary:
            raise ConfigError(
                f"tasks.{asking[0]}.next needs a binary task that tells what was bought; add one, as purchase."
            )

    @classmethod
    def from_config(cls, tasks: Mapping[str, Mapping[str, object] | None]) -> TaskFunnel:
        """From a config mapping of task name to its fields: `{click: {}, purchase: {given: [click], rate: cvr}}`."""
        built = []
        for name, fields in tasks.items():
            unknown = set(fields or {}) - {"given", "rate", "joint_rate", "kind", "levels", "window", "next"}
            if unknown:
                raise ConfigError(
                    f"tasks.{name}: unknown field {sorted(unknown)[0]!r}; a task takes given, rate, joint_rate, kind, "
                    "levels, window, next."
                )
            built.append(Task(name=name, **(fields or {})))  # type: ignore[arg-type]
        return cls(tuple(built))

    def to_config(self) -> dict[str, dict[str, object]]:
        """The inverse of `from_config`, for records."""
        found: dict[str, dict[str, object]] = {}
        for task in self.tasks:
            found[task.name] = {"given": list(task.given), "rate": task.rate, "joint_rate": task.joint_rate}
            if not task.binary:
                found[task.name] |= {"kind": task.kind, "levels": list(task.levels)}
            if task.window is not None:  # logs from before there was the field keep their fingerprint
                found[task.name]["window"] = task.window
            if task.next:  # likewise
                found[task.name]["next"] = task.next
        return found

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Task names in funnel order."""
        return tuple(task.name for task in self.tasks)

    @cached_property
    def binary(self) -> tuple[Task, ...]:
        """The tasks whose label is 0 or 1, in funnel order."""
        return tuple(task for task in self.tasks if task.binary)

    @cached_property
    def logged(self) -> TaskFunnel:
        """The tasks whose labels a log holds: all but those of what comes next."""
        return TaskFunnel(tuple(task for task in self.tasks if not task.next))

    @cached_property
    def following(self) -> tuple[Task, ...]:
        """The tasks of what comes next."""
        return tuple(task for task in self.tasks if task.next)

    @cached_property
    def predicted(self) -> tuple[str, ...]:
        """Columns of all predictions, task by task."""
        return tuple(name for task in self.tasks for name in task.predicted)

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

    def final_after(self, name: str) -> float:
        """Days after an impression from which on a task's label, and whether it is observed, no longer change; 0: at
        once.
        """
        tasks = (self[name], *(self[edge.name] for edge in self.way_to(name)))
        return max(task.window or 0.0 for task in tasks)

    def observed(self, labels: Mapping[str, NDArray[np.generic]], name: str) -> NDArray[np.bool_]:
        """Rows on which a task's label is observed: those where every edge on the way to it holds and a level is told.

        `labels` holds one array per task; the result has their shape.
        """
        rows = np.ones(np.shape(labels[name]), dtype=bool)
        if self[name].has_levels:
            rows &= np.asarray(labels[name]) != UNKNOWN
        for edge in self.way_to(name):
            rows &= (np.asarray(labels[edge.name]) == 1) == edge.holds
        return rows
