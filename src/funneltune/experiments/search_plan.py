"""A search: its space, its objectives and their directions, and how it proceeds."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from funneltune.errors import ConfigError
from funneltune.experiments.search_space import Choice, Setting, Value, read_setting
from funneltune.funnel import TaskFunnel
from funneltune.metrics import evaluate
from funneltune.metrics.comparison import has_direction, higher_is_better
from funneltune.records import RunRecord, number

Sampler = Literal["tpe", "random", "grid"]
Pruner = Literal["none", "median", "halving", "hyperband"]

COSTS = (
    *("steps", "step_milliseconds_median", "rows_per_second", "unique_tokens_per_second", "train_seconds"),
    *("data_wait_share", "peak_memory_bytes", "peak_memory_growth_bytes", "wall_seconds", "saved_bytes"),
)
PARAMETERS = ("total", "trainable_start", "trainable_end", "share")
NOT_SEARCHED = {
    "seed": "a seed is no setting, its luck would be chosen; compare seeds with funneltune study",
    **dict.fromkeys(("run_dir", "resume", "test", "baselines", "name"), "the search sets it for every trial"),
    **dict.fromkeys(("experiment", "study", "hparams_search"), "it names what is searched"),
    **dict.fromkeys(("data", "data.path", "data.source", "data.split"), "trials would be validated on other rows"),
}
ALL_TRIED = 48
"""Combinations of choices that are composed before anything runs; of more, each choice once."""
LARGEST_GRID = 10_000


@dataclass(frozen=True)
class Objective:
    """A number of a trial's record: `validation/ctcvr/auc`, `cost/step_milliseconds_median`, `parameters/share`."""

    key: str

    @property
    def part(self) -> tuple[str, str]:
        """Where it lies, and its name there."""
        place, _, name = self.key.partition("/")
        return place, name

    @property
    def maximise(self) -> bool:
        """Whether more is better: by the metric's name; of cost and parameters less is, but for rates."""
        place, name = self.part
        return higher_is_better(name) if place == "validation" else name.endswith("_per_second")

    def value(self, record: RunRecord) -> float | None:
        """The record's number; None where it is undefined."""
        place, name = self.part
        if place == "validation":
            return record.value(name, "validation")
        return number((record.cost if place == "cost" else record.parameters).get(name))

    def fault(self, measured: Collection[str]) -> str | None:
        """What is wrong with it, given the metrics that a run of these tasks has."""
        place, name = self.part
        if place == "test":
            return f"search.metrics: {self.key} is of the test split, which never selects; take validation/{name}"
        known = {"validation": measured, "cost": COSTS, "parameters": PARAMETERS}.get(place)
        if known is None:
            return f"search.metrics: {self.key} must begin with validation/, cost/ or parameters/"
        if name.partition("[")[0] not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            return f"search.metrics: {self.key} is not in a run's record" + (
                f" (nearest: {place}/{near[0]})" if near else f"; there are {', '.join(f'{place}/{k}' for k in known)}"
            )
        if not has_direction(name):
            return f"search.metrics: {self.key} is neither better when more nor when less; take another"
        return None


@dataclass(frozen=True)
class SearchPlan:
    """A search as its config describes it."""

    name: str
    space: tuple[Setting, ...]
    metrics: tuple[Objective, ...]
    trials: int = 20
    sampler: Sampler = "tpe"
    pruner: Pruner = "none"
    seed: int = 0
    overrides: tuple[str, ...] = ()
    retries: int = 2
    faults: tuple[str, ...] = field(default=(), compare=False)
    """Of the config's form, found while it was read."""

    @classmethod
    def from_config(cls, name: str, node: Mapping[str, Any], given: Collection[str] = ()) -> SearchPlan:
        """From the config's `search` node. A key that the command line sets (`given`) is not searched, and no override
        of the search's replaces it.
        """
        settings, faults = [], []
        for key, value in (node.get("space") or {}).items():
            if key not in given:
                setting = read_setting(str(key), value)
                settings.append(setting) if not isinstance(setting, str) else faults.append(setting)
        kept = [str(o) for o in node.get("overrides") or () if str(o).partition("=")[0].lstrip("+~") not in given]
        plain = {k: node[k] for k in ("trials", "sampler", "pruner", "seed", "retries") if node.get(k) is not None}
        return cls(
            name=name,
            space=tuple(settings),
            metrics=tuple(Objective(str(key)) for key in node.get("metrics") or ()),
            overrides=tuple(kept),
            faults=tuple(faults),
            **plain,
        )

    def check(self, funnel: TaskFunnel, evaluation: Mapping[str, Any] | None = None) -> None:
        """Refuse a search that cannot be run.

        Raises:
            ConfigError: with all faults found.
        """
        faults = [*self.faults, *(fault for setting in self.space for fault in setting.faults())]
        faults += [f"search.space.{s.key} is not searched: {why}" for s in self.space if (why := _reserved(s.key))]
        if not self.space and not self.faults:
            faults.append("search.space is empty; list at least one key and its values")
        measured = measurable(funnel, evaluation or {})
        faults += [fault for objective in self.metrics if (fault := objective.fault(measured))]
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            faults.append("search.metrics must list one or several metrics, each once: [validation/ctcvr/auc]")
        for name, least in (("trials", 1), ("retries", 0), ("seed", 0)):
            if type(value := getattr(self, name)) is not int or value < least:
                faults.append(f"search.{name}={value!r} must be a whole number >= {least}")
        for name, kinds in (("sampler", Sampler), ("pruner", Pruner)):
            if getattr(self, name) not in get_args(kinds):
                faults.append(f"search.{name}={getattr(self, name)!r} must be one of {', '.join(get_args(kinds))}")
        if self.pruner != "none" and (len(self.metrics) > 1 or not self.metrics[0].key.startswith("validation/")):
            faults.append(f"search.pruner={self.pruner} needs one objective, of validation/; set search.pruner=none")
        if not faults and self.sampler == "grid":
            faults += self._grid_faults()
        if faults:
            raise ConfigError("; ".join(faults) + ".")

    def _grid_faults(self) -> Iterator[str]:
        for setting in self.space:
            if setting.every() is None:
                yield f"search.space.{setting.key} has no step, so search.sampler=grid cannot list it; give one"
        if all(s.every() is not None for s in self.space) and self.grid_size > LARGEST_GRID:
            yield f"search.sampler=grid has {self.grid_size:,} points, over {LARGEST_GRID:,}; take random or tpe"

    @property
    def grid_size(self) -> int:
        """Points of the grid."""
        return math.prod(len(setting.every() or ()) for setting in self.space)

    @property
    def total(self) -> int:
        """Trials in all: a grid ends with its last point."""
        return min(self.trials, self.grid_size) if self.sampler == "grid" else self.trials

    def grid_point(self, trial: int) -> dict[str, Value]:
        """The grid's point of a trial; the seed decides their order."""
        place = int(np.random.default_rng(self.seed).permutation(self.grid_size)[trial])
        point: dict[str, Value] = {}
        for setting in reversed(self.space):
            values = setting.every() or []
            place, index = divmod(place, len(values))
            point[setting.key] = values[index]
        return dict(reversed(point.items()))

    def trial_overrides(self, params: Mapping[str, Value]) -> list[str]:
        """A trial's setting as on the command line."""
        return [one for setting in self.space for one in setting.overrides(params[setting.key])]

    def to_try(self) -> list[list[str]]:
        """Overrides that show what does not compose: all choices together, if they are few, and each range's ends."""
        first = {setting.key: setting.ends()[0] for setting in self.space}
        choices = [setting for setting in self.space if isinstance(setting, Choice)]
        points = [{setting.key: value} for setting in self.space for value in setting.ends()]
        if math.prod(len(choice.options) for choice in choices) <= ALL_TRIED:
            labels = itertools.product(*(choice.options for choice in choices))
            points += [dict(zip((c.key for c in choices), combination, strict=True)) for combination in labels]
        tried = [self.trial_overrides(first | point) for point in points]
        return [list(one) for one in dict.fromkeys(map(tuple, tried))]

    def to_json(self) -> dict[str, Any]:
        """As the config has it."""
        plain = {name: getattr(self, name) for name in ("trials", "sampler", "pruner", "seed", "retries")}
        return {
            "space": {setting.key: setting.to_json() for setting in self.space},
            "metrics": [objective.key for objective in self.metrics],
            "overrides": list(self.overrides),
            **plain,
        }


def measurable(funnel: TaskFunnel, evaluation: Mapping[str, Any]) -> list[str]:
    """Every metric that a run of these tasks may have, found by measuring a few rows that are made up."""
    rows = 8
    columns: dict[str, Any] = {"request": np.arange(rows) // 2, "user": np.arange(rows) // 4}
    columns["grade"] = np.arange(rows) % 2.0
    for task in funnel.tasks:
        columns[task.name] = np.arange(rows) % 2
        p = np.full(rows, 1 / max(2, len(task.levels)))
        columns |= dict.fromkeys(task.predicted, p)
        columns |= {f"oracle_{name}": p for name in task.predicted if name.startswith("p_")}
    return list(evaluate(columns, funnel, ks=tuple(evaluation.get("ks", (10,)))))


def _reserved(key: str) -> str | None:
    """Why a key is not searched."""
    return NOT_SEARCHED.get(key) or NOT_SEARCHED.get(".".join(key.split(".")[:2]))
