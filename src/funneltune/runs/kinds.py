"""Values of a kind that a part does not take, told by its own annotations before it is built."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from funneltune.runs.targets import ROOMS

KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "float": ((int, float), "a number"),
    "int": ((int,), "a whole number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a word"),
}
"""An annotation -> the values that it takes, and how that is told."""


def kind_faults(node: Any, path: str) -> Iterator[str]:
    """What is not of its argument's kind in a node whose `_target_` is ours, and inside it; one sentence each.

    Arguments with other annotations (mappings, several kinds) are the part's own business.
    """
    if not isinstance(node, Mapping):
        return
    annotations = _annotations(str(node.get("_target_")))
    for key, value in node.items():
        yield from kind_faults(value, f"{path}.{key}")
        word, _, rest = annotations.get(str(key), "").partition(" | ")
        if word not in KINDS or rest not in {"", "None"} or (value is None and rest):
            continue
        kinds, told = KINDS[word]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            yield f"{path}.{key}={value!r} must be {told}{', or null' if rest else ''}"


def _annotations(target: str) -> dict[str, str]:
    """Argument -> annotation as it is written, of a class of ours and those that it inherits from."""
    package, _, name = target.rpartition(".")
    if package not in ROOMS:
        return {}
    found: dict[str, str] = {}
    for kind in reversed(getattr(getattr(importlib.import_module(package), name, None), "__mro__", ())):
        if "__init__" in vars(kind) and kind is not object:
            parameters = inspect.signature(kind.__init__).parameters.values()
            found |= {p.name: p.annotation for p in parameters if isinstance(p.annotation, str)}
    return found
