"""Values of a chunk of rows: filled, checked, as numbers. Faults are gathered: column, row, value and rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.collected import Collected
from funneltune.data.sources.lateness import MOMENT, moments
from funneltune.data.sources.roles import Roles
from funneltune.funnel import Task

PLACES = np.iinfo(np.int16)
PLAIN = re.compile(r"\S{0,24}(\s[\d:.+-]+)?")
"""A number, a date with its time, a word."""


def filled(frame: pd.DataFrame, roles: Roles, seen: Collected) -> pd.DataFrame:
    """Missing values as `fill` has them, counted."""
    for column, value in roles.fill.items():
        if column in frame:
            missing = frame[column].isna() | (frame[column].str.strip() == "")
            seen.count("filled", column, int(missing.sum()))
            frame = frame.assign(**{column: frame[column].mask(missing, value)})
    return frame


def fault(
    wrong: NDArray[np.bool_],
    frame: pd.DataFrame,
    column: str,
    roles: Roles,
    seen: Collected,
    rule: str,
    telling: Callable[[str, str, int], str],
) -> None:
    """Cells of a column that break a rule: one line of the refusal, or rows of the quarantine.

    Args:
        wrong: Which rows of the chunk.
        frame: The chunk.
        column: The column.
        roles: The column map.
        seen: Where faults are gathered.
        rule: What a cell must be, in words.
        telling: (value, row, how many such) of the first in words -> the line.
    """
    places = np.flatnonzero(wrong)
    if not len(places):
        return
    seen.bad[places] = True
    if seen.quarantine is not None:
        told = _told(frame[column].iloc[places], frame, column, roles)
        seen.quarantine.add(seen.offset[places], column, told, f"it must be {rule}")
        return
    (value,) = _told(frame[column].iloc[places[:1]], frame, column, roles)
    seen.faults.append(telling(value, seen.spelt(int(seen.offset[places[0]])), len(places)))


def _told(values: pd.Series[Any], frame: pd.DataFrame, column: str, roles: Roles) -> list[str]:
    """Values as messages have them: numbers, dates, words; no identifier of a person and no text, which in a row that
    slipped stand in other columns, too.
    """
    hidden = np.full(len(values), column in roles.persons)
    for name in roles.persons - {column}:
        if name in frame:
            hidden |= values.isin(frame[name].dropna()).to_numpy(bool)
    return [
        "nothing"
        if pd.isna(value) or not value.strip()
        else f"a text of {len(value)} letters"
        if of_persons or not PLAIN.fullmatch(value)
        else repr(value)
        for value, of_persons in zip(values.astype(object), hidden, strict=True)
    ]


def no_missing(frame: pd.DataFrame, roles: Roles, column: str, role: str, seen: Collected) -> None:
    """A fault where a column that tells rows apart is empty."""
    if column in roles.fill:
        return
    empty = (frame[column].isna() | (frame[column].str.strip() == "")).to_numpy(bool)

    def telling(_: str, row: str, count: int) -> str:
        return (
            f"column {column!r} ({role}) is empty in {count} row(s), first {row}; mend the file, or write fill: "
            f"{{{column}: TEXT}} under source"
        )

    fault(empty, frame, column, roles, seen, "a value", telling)


def number(frame: pd.DataFrame, roles: Roles, column: str, role: str, seen: Collected) -> NDArray[np.float64]:
    """A column of finite numbers that the store can hold; a fault where one is none, and 0 in its place."""
    raw = frame[column].map(roles.grades) if role == "grade" and roles.grades else frame[column]
    numbers = moments(raw) if role == "time" else pd.to_numeric(raw, errors="coerce")
    values = pd.Series(numbers).to_numpy(dtype=np.float64, na_value=np.nan)

    if role == "position":
        rule = f"a whole number from {PLACES.min} to {PLACES.max}"
        right = (values == np.floor(values)) & (values >= PLACES.min) & (values <= PLACES.max)
    else:  # beyond single precision all but times would be infinite
        rule = MOMENT if role == "time" else "a finite number"
        right = np.isfinite(values) & ((role == "time") | (np.abs(values) <= np.finfo(np.float32).max))

    def telling(value: str, row: str, count: int) -> str:
        remedy = f", or write fill: {{{column}: NUMBER}} under source" if value == "nothing" else ""
        told = f"column {column!r} ({role}) holds {value} in {row} ({count} such); it must be {rule}"
        return f"{told}; mend the file{remedy}"

    fault(~right, frame, column, roles, seen, rule, telling)
    return np.where(right, values, 0.0)


def label(frame: pd.DataFrame, roles: Roles, task: Task, seen: Collected) -> NDArray[Any]:
    """A task's label; a fault where a value breaks its rule."""
    rule = roles.labels[task.name]
    values, wrong = rule.values(frame[rule.column], task)

    def telling(value: str, row: str, count: int) -> str:
        return (
            f"label {task.name!r}, column {rule.column!r}, holds {value} in {row} ({count} such); it must be "
            f"{rule.rule(task)}"
        )

    fault(wrong, frame, rule.column, roles, seen, rule.rule(task), telling)
    if task.kind == "regression":
        return values
    return np.where(wrong, 0, values).astype(np.int16 if task.has_levels else np.int8)


def delay(
    frame: pd.DataFrame,
    roles: Roles,
    task: str,
    seen: Collected,
    happened: NDArray[Any],
    time: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Days from the impressions to their events; a fault where an event has none."""
    late = roles.delays[task]
    days, wrong = late.days(frame[late.column], happened, time)

    def telling(value: str, row: str, count: int) -> str:
        return (
            f"column {late.column!r} holds {value} in {row} ({count} such), where {task!r} happened; it must be "
            f"{late.rule}"
        )

    fault(wrong, frame, late.column, roles, seen, late.rule, telling)
    return days
