"""Values of a chunk of rows: filled, checked, as numbers. Faults are gathered: column, row, value and rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.collected import Collected
from funneltune.data.sources.lateness import moments
from funneltune.data.sources.roles import Roles
from funneltune.funnel import Task


def filled(frame: pd.DataFrame, roles: Roles, seen: Collected) -> pd.DataFrame:
    """Missing values as `fill` has them, counted."""
    for column, value in roles.fill.items():
        if column in frame:
            missing = frame[column].isna() | (frame[column].str.strip() == "")
            seen.count("filled", column, int(missing.sum()))
            frame = frame.assign(**{column: frame[column].mask(missing, value)})
    return frame


def no_missing(frame: pd.DataFrame, roles: Roles, column: str, role: str, seen: Collected) -> None:
    """A fault where a column that tells rows apart is empty."""
    if column in roles.fill:
        return
    empty = frame[column].isna() | (frame[column].str.strip() == "")
    if empty.any():
        row = int(seen.offset[np.flatnonzero(empty.to_numpy())[0]])
        seen.faults.append(
            f"column {column!r} ({role}) is empty in {int(empty.sum())} row(s), first row {row}; mend the file, or "
            f"write fill: {{{column}: TEXT}} under source"
        )


def number(frame: pd.DataFrame, roles: Roles, column: str, role: str, seen: Collected) -> NDArray[np.float64]:
    """A column of finite numbers; a fault where one is none."""
    raw = frame[column].map(roles.grades) if role == "grade" and roles.grades else frame[column]
    numbers = moments(raw) if role == "time" else pd.to_numeric(raw, errors="coerce")
    values = pd.Series(numbers).to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~np.isfinite(values)
    if wrong.any():
        where = int(np.flatnonzero(wrong)[0])
        found = frame[column].iloc[where]
        seen.faults.append(
            f"column {column!r} ({role}) holds {'nothing' if pd.isna(found) else repr(str(found))} in row "
            f"{seen.offset[where]} ({int(wrong.sum())} such); it must be a finite number; mend the file"
            + (f", or write fill: {{{column}: NUMBER}} under source" if pd.isna(found) else "")
        )
    return values


def label(frame: pd.DataFrame, roles: Roles, task: Task, seen: Collected) -> NDArray[Any]:
    """A task's label; a fault where a value breaks its rule."""
    rule = roles.labels[task.name]
    values, wrong = rule.values(frame[rule.column], task)
    if wrong.any():
        where = int(np.flatnonzero(wrong)[0])
        found = frame[rule.column].iloc[where]
        seen.faults.append(
            f"label {task.name!r}, column {rule.column!r}, holds "
            f"{'nothing' if pd.isna(found) else repr(str(found))} in row {seen.offset[where]} "
            f"({int(wrong.sum())} such); it must be {rule.rule(task)}"
        )
    if task.kind == "regression":
        return values
    return np.where(wrong, 0, values).astype(np.int16 if task.has_levels else np.int8)


def delay(frame: pd.DataFrame, roles: Roles, task: str, seen: Collected) -> NDArray[np.float64]:
    """Days from the impressions to their events; a fault where an event has none."""
    late = roles.delays[task]
    time = seen.columns.last("time") if late.unit is None else None
    days, wrong = late.days(frame[late.column], seen.columns.last(task), time)
    if wrong.any():
        where = int(np.flatnonzero(wrong)[0])
        found = frame[late.column].iloc[where]
        seen.faults.append(
            f"column {late.column!r} holds {'nothing' if pd.isna(found) else repr(str(found))} in row "
            f"{seen.offset[where]} ({int(wrong.sum())} such), where {task!r} happened; it must be {late.rule}"
        )
    return days
