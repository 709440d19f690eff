"""Which cells are held against which: all against the baseline, every pair, along one axis, or as listed."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from funneltune.errors import ConfigError

MODES = ("baseline", "all")
Pair = tuple[str, str]
"""The cell that a verdict speaks of, and what it is held against."""


def wanted_pairs(plan: Mapping[str, Any], cells: Sequence[str], scorers: Collection[str] = ()) -> list[Pair]:
    """The pairs that a study compares, as its `pairs` says.

    `baseline` (the default) holds each cell against the study's baseline; `all` holds every cell against each that
    stands before it; the name of an axis holds each cell against the one that has the baseline's value of that axis and
    its own value of all others; a list of [cell, other] holds just these.

    Args:
        plan: `study` of study.json: pairs, baseline, axes.
        cells: All cells of the study, in its order, those that have not run included.
        scorers: Baselines that every run was scored beside (`trees`, `bm25`); they may stand second.

    Raises:
        ConfigError: `pairs` is no such word or axis, names what is no cell, or asks for a baseline that is none.
    """
    asked = plan.get("pairs") or "baseline"
    baseline = plan.get("baseline")
    if isinstance(asked, (list, tuple)):
        return _listed(asked, cells, scorers)
    if asked == "all":
        return [(cell, other) for other, cell in itertools.combinations(cells, 2)]
    if asked == "baseline":
        return [] if baseline is None else [(cell, baseline) for cell in cells if cell != baseline]
    axes = _axes(plan, cells)
    if not isinstance(asked, str) or asked not in axes:
        known = [*MODES, *axes]
        near = [f", nearest: {name}" for name in difflib.get_close_matches(str(asked), known, n=1)]
        raise ConfigError(
            f"study.pairs={asked!r} is no axis of this study{''.join(near)}; "
            f"give one of {', '.join(known)}, or a list of [cell, other]."
        )
    return _along(asked, axes, cells, baseline)


def _along(axis: str, axes: Sequence[str], cells: Sequence[str], baseline: Any) -> list[Pair]:
    """Each cell against the one that differs from it in one axis, where it has the baseline's value."""
    values = {cell: _values(cell, axes) for cell in cells}
    start = _values(str(baseline), axes) if baseline else None
    if start is None:
        raise ConfigError(
            f"study.pairs={axis} needs study.baseline to be a cell that names a value of {axis}, but it is {baseline}."
        )
    by_values = {tuple(found.items()): cell for cell, found in values.items() if found}
    pairs = []
    for cell, found in values.items():
        other = by_values.get(tuple({**found, axis: start[axis]}.items())) if found else None
        if other is not None and other != cell:
            pairs.append((cell, other))
    return pairs


def _axes(plan: Mapping[str, Any], cells: Sequence[str]) -> list[str]:
    """The study's axes; read from the cells' names where study.json does not list them."""
    axes = plan.get("axes")
    if isinstance(axes, Mapping) and axes:
        return [str(axis) for axis in axes]
    return list(dict.fromkeys(name for cell in cells for name in re.findall(r"(?:^|,)([^=,]+)=", cell)))


def _values(cell: str, axes: Sequence[str]) -> dict[str, str] | None:
    """`axis=value,axis2=value2` taken apart; None where a cell is named otherwise. Values may hold commas."""
    found = re.fullmatch(",".join(f"{re.escape(axis)}=(.*)" for axis in axes), cell)
    return dict(zip(axes, found.groups(), strict=True)) if found else None


def _listed(asked: Sequence[Any], cells: Sequence[str], scorers: Collection[str]) -> list[Pair]:
    pairs: list[Pair] = []
    for entry in asked:
        if not isinstance(entry, (list, tuple)) or len(entry) != 2:
            raise ConfigError(f"study.pairs holds {entry!r}; each entry must be [cell, other].")
        cell, other = (str(name) for name in entry)
        for name, known in ((cell, list(cells)), (other, [*cells, *scorers])):
            if name not in known:
                near = [f", nearest: {match}" for match in difflib.get_close_matches(name, known, n=1)]
                raise ConfigError(f"study.pairs names {name}, which is no cell here{''.join(near)}; name a cell.")
        if cell == other or (cell, other) in pairs or (other, cell) in pairs:
            raise ConfigError(f"study.pairs holds [{cell}, {other}], one cell or one pair twice; remove it.")
        pairs.append((cell, other))
    return pairs
