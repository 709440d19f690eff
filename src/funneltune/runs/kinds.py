"""Values of a kind that a part does not take, told by its own annotations before it is built."""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from funneltune.runs.targets import CALLBACKS, LOGGERS, OPTIMIZERS, ROOMS, TRAINERS

PLAIN: Mapping[Any, tuple[tuple[type, ...], str]] = {
    float: ((int, float), "a number"),
    int: ((int,), "a whole number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "a word"),
    Path: ((str,), "a path"),
    types.NoneType: ((types.NoneType,), "null"),
}
"""An annotation -> the values that it takes, and how that is told."""
LISTS = (list, tuple, set, frozenset, Sequence, Iterable)
MAPPINGS = (dict, Mapping)
NODE = "a mapping with a _target_"


def kind_faults(node: Any, path: str) -> Iterator[str]:
    """What is not of its argument's kind in a node whose `_target_` may be built, and inside it; one sentence each.

    Ranges, and what goes with what, are the part's own business.
    """
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from kind_faults(item, f"{path}[{index}]")
    if not isinstance(node, Mapping):
        return
    hints = hints_of(str(node.get("_target_"))) if "_target_" in node else {}
    for key, value in node.items():
        yield from kind_faults(value, f"{path}.{key}")
        yield from hint_faults(value, hints.get(str(key), Any), f"{path}.{key}")


def hint_faults(value: Any, hint: Any, path: str) -> Iterator[str]:
    """A value that is not what an annotation says; one sentence, or none."""
    if not _fits(value, hint):
        yield f"{path}={value!r} must be {_told(hint)}"


@cache
def hints_of(target: str) -> Mapping[str, Any]:
    """Argument -> annotation of what a config may build, and of the classes that it inherits from."""
    package, _, name = target.rpartition(".")
    if package not in (*ROOMS, OPTIMIZERS, CALLBACKS, LOGGERS) and target not in TRAINERS:
        return {}
    found = getattr(importlib.import_module(package), name, None)
    kinds = [kind.__init__ for kind in reversed(getattr(found, "__mro__", ())) if "__init__" in vars(kind)]
    hints: dict[str, Any] = {}
    for made in kinds if inspect.isclass(found) else [found]:
        if inspect.isfunction(made):
            hints |= _annotations(made)
    return hints


def _annotations(made: Any) -> dict[str, Any]:
    """Of one function; the options that it takes as `**common: Unpack[Common]` among them."""
    try:
        hints = get_type_hints(made)
    except NameError:  # a name that is imported for type checkers alone
        return {}
    for options in [hint for hint in hints.values() if any(map(is_typeddict, get_args(hint)))]:
        for one in get_args(options):
            hints |= get_type_hints(one)
    return hints


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is what an annotation says; what is to be built in its place is checked by itself."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any or (isinstance(value, Mapping) and "_target_" in value):
        return True
    if hint in PLAIN:
        kinds, _ = PLAIN[hint]
        whole = not (isinstance(value, bool) and bool not in kinds) and not (
            isinstance(value, float) and value != value
        )
        return isinstance(value, kinds) and whole
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if origin in LISTS or hint in LISTS:
        return isinstance(value, list) and _all_fit(value, origin, parts)
    if origin in MAPPINGS or hint in MAPPINGS or is_typeddict(hint):
        return isinstance(value, Mapping) and (len(parts) < 2 or all(_fits(one, parts[1]) for one in value.values()))
    return False


def _all_fit(values: list[Any], origin: Any, parts: tuple[Any, ...]) -> bool:
    if origin is tuple and parts[-1] is not ...:
        return len(values) == len(parts) and all(_fits(one, part) for one, part in zip(values, parts, strict=True))
    return not parts or all(_fits(one, parts[0]) for one in values)


def _told(hint: Any) -> str:
    """What an annotation takes, in words; what only code can give is left out."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint][1]
    if origin in (Union, types.UnionType):
        words = dict.fromkeys(_told(part) for part in parts if part is not types.NoneType)
        if "a number" in words:
            words.pop("a whole number", None)
        if len(words) > 1:
            words.pop(NODE, None)
        ordered = sorted(words, key=lambda word: word.startswith("a list"))  # its commas end what stands before
        return " or ".join(ordered) + (", or null" if types.NoneType in parts else "")
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}" if len(parts) > 1 else str(parts[0])
    if origin is tuple and parts[-1] is not ...:
        return f"a list of {len(parts)}, each {_told(parts[0])}"
    if origin in LISTS or hint in LISTS:
        inner = _told(parts[0]) if parts else ""
        return "a list" + (f", each {inner}" if inner else "")
    if origin in MAPPINGS or hint in MAPPINGS or is_typeddict(hint):
        inner = _told(parts[1]) if len(parts) > 1 and parts[1] is not Any else ""
        return "a mapping" + (f", each value {inner}" if inner else "")
    return NODE
