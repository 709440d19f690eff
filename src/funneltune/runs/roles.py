"""Which part of a run a node of the config stands for, and what may stand there."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import lightning as L
from torch import nn, optim

from funneltune.backbones import Backbone, NoBackbone, NoVision, Vision
from funneltune.data import LogDataModule, Split
from funneltune.features import Features
from funneltune.metrics import evaluate
from funneltune.modules import Adversary
from funneltune.objectives import Balancing, Objective
from funneltune.runs.kinds import hint_faults, kind_faults
from funneltune.runs.targets import is_vouched_for


@dataclass(frozen=True)
class Role:
    """What a node may name.

    Args:
        words: What it is called in a sentence.
        kinds: Classes of which it is one; empty: any.
        has: Methods and values that it has, where a protocol says what it is; of a function, its name.
        partial: Whether the run adds arguments of its own (`_partial_: true`).
    """

    words: str
    kinds: tuple[type, ...] = ()
    has: tuple[str, ...] = ()
    partial: bool = False

    def takes(self, found: Any) -> bool:
        """Whether a target is of this role."""
        if not isinstance(found, type):
            return not self.kinds and getattr(found, "__name__", None) in self.has
        return (not self.kinds or issubclass(found, self.kinds)) and all(hasattr(found, name) for name in self.has)


ROLES: Mapping[str, Role] = {
    "data.source": Role("source of logs", has=("describe", "write", "unlabelled")),
    "data.split": Role("split", (Split,)),
    "backbone": Role("backbone", (Backbone, NoBackbone)),
    "vision": Role("vision backbone", (Vision, NoVision)),
    "features": Role("features", (Features,), partial=True),
    "tuning": Role("tuning method", has=("apply", "label", "parameter_groups")),
    "head": Role("head", (nn.Module,), ("space", "views"), partial=True),
    "objective": Role("objective", (Objective,), partial=True),
    "balancing": Role("balancing", (Balancing,), partial=True),
    "adversary": Role("adversary", (Adversary,)),
    "optimizer": Role("optimizer", (optim.Optimizer,), partial=True),
    "scheduler": Role("schedule", has=("constant", "warmup_linear"), partial=True),
    "trainer": Role("trainer", (L.Trainer,)),
}
EACH: Mapping[str, Role] = {
    "callbacks": Role("callback", (L.Callback,)),
    "logger": Role("tracker", has=("csv_logger", "tensorboard_logger", "wandb_logger")),
}
"""Groups that hold any number of nodes, under names of the user's own; null leaves one out."""
MAY_BE_ABSENT = ("vision", "features", "balancing", "adversary", *EACH)
"""Groups that runs from before there were any do not have."""
PLAIN = ("data", "metrics")
"""Groups that are mappings and name no target."""
GROUPS = (*dict.fromkeys(path.partition(".")[0] for path in ROLES), *EACH, "metrics", "privacy")
OURS = ("precision",)
"""Keys of a node for which its target has other words."""
TAKERS: Mapping[str, Callable[..., Any]] = {"data": LogDataModule.__init__, "metrics": evaluate}
"""Who takes a group that names no target."""
NODES = ("source", "tasks", "split", "features", "pseudonyms", "path")
"""Keys of the data group that are parsed by themselves."""


def role_faults(plain: Mapping[str, Any]) -> Iterator[str]:
    """What is missing, no mapping, or stands in another part's place; one sentence each."""
    for path, role in ROLES.items():
        group, _, inner = path.partition(".")
        node = plain.get(group)
        if not inner:
            yield from [] if node is None and group in MAY_BE_ABSENT else _node_faults(node, path, role)
        elif isinstance(node, Mapping) and inner in node:  # one that is missing is told with what else is
            yield from _node_faults(node[inner], path, role)
    for group in PLAIN:
        if not isinstance(plain.get(group), Mapping):
            yield f"{group}={plain.get(group)!r} must be a mapping; choose one, {group}=CHOICE"
    for group, role in EACH.items():
        nodes = plain.get(group)
        if not isinstance(nodes, Mapping | None):
            yield f"{group}={nodes!r} must be a mapping of names to {role.words}s"
            continue
        for name, node in (nodes or {}).items():
            if node is not None:
                yield from _node_faults(node, f"{group}.{name}", role)


def mappings_alone(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The config with an empty mapping for each group that is none, for checks that look into all of them."""
    return {**plain, **{name: node if isinstance(node := plain.get(name), Mapping) else {} for name in GROUPS}}


def argument_faults(plain: Mapping[str, Any]) -> Iterator[str]:
    """Values that are not of the kind that the part which takes them names; one sentence each."""
    for group in GROUPS:
        yield from kind_faults({key: one for key, one in plain[group].items() if key not in OURS}, group)
    for group, taker in TAKERS.items():
        hints = get_type_hints(taker)
        for key, value in plain[group].items():
            if key not in NODES:
                yield from hint_faults(value, hints.get(key, Any), f"{group}.{key}")


def _node_faults(node: Any, path: str, role: Role) -> Iterator[str]:
    if not isinstance(node, Mapping) or "_target_" not in node:
        yield f"{path}={node!r} must be a mapping with the _target_ of a {role.words}"
        return
    target, partial = node["_target_"], node.get("_partial_", False)
    if not isinstance(target, str) or (partial is not role.partial and not path.startswith("logger.")):
        rule = "must be true: a run adds arguments" if role.partial else "must be false"
        yield f"{path}._partial_={partial!r} {rule}"
    elif not is_vouched_for(target) and not role.takes(_named(target)):
        yield f"{path}._target_={target} is no {role.words}"


def _named(target: str) -> Any:
    package, _, name = target.rpartition(".")
    return getattr(importlib.import_module(package), name, None)
