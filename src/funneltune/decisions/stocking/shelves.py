"""What a shop's records say of its shelves: what is there now, and on which days an item was sold out.

Legend: S items, T days of the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.decisions.requests import read_frame, read_times
from funneltune.decisions.stocking.days import Daily, Span
from funneltune.errors import DataError
from funneltune.marketplace.daily import Chances

Floats = NDArray[np.float64]
COLUMNS = ("item", "on_hand", "on_order", "holding_cost", "shortage_cost")


@dataclass(frozen=True)
class Shelf:
    """What is there of each item, and what it costs; (S,)."""

    on_hand: Floats
    on_order: Floats
    holding_cost: Floats
    shortage_cost: Floats
    told: bool
    """Whether a file told what is there; else nothing is taken to be."""


def read_shelf(path: Path | None, names: list[str], holding_cost: float, shortage_cost: float) -> Shelf:
    """What is there: of a CSV, Parquet or JSON-lines file with a row per item (`item`, `on_hand`, and if known
    `on_order`, `holding_cost`, `shortage_cost`); items without a row have nothing.

    Raises:
        DataError: if it is no such file, or an item or a number cannot be read.
    """
    n = len(names)
    columns = {
        "on_hand": np.zeros(n),
        "on_order": np.zeros(n),
        "holding_cost": np.full(n, holding_cost),
        "shortage_cost": np.full(n, shortage_cost),
    }
    if path is None:
        return Shelf(**columns, told=False)
    frame = _frame(path, "on_hand", COLUMNS, COLUMNS[:2])
    items = frame["item"].astype(str)
    if len(repeated := items[items.duplicated()]):
        raise DataError(f"on_hand={path}: item={repeated.iloc[0]} has two rows; give one.")
    rows = _places(path, "on_hand", items, names)
    for name in sorted(set(frame.columns) - {"item"}):
        columns[name][rows] = _numbers(path, name, frame[name], above=name.endswith("cost"))
    return Shelf(**columns, told=True)


def read_sold_out(path: Path, daily: Daily) -> NDArray[np.bool_]:
    """(S, T) days without stock, of a file with a row for each: `item`, `day` (ISO 8601, or unix seconds; UTC).

    Raises:
        DataError: if it is no such file, an item or a day cannot be read, or no day is one of the log's.
    """
    frame = _frame(path, "sold_out", ("item", "day"), ("item", "day"))
    rows = _places(path, "sold_out", frame["item"].astype(str), daily.names)
    day = np.floor(read_times(path, frame["day"]).to_numpy() / 86_400).astype(np.int64) - daily.first
    inside = (day >= 0) & (day < daily.days)
    if not inside.any():
        last = daily.date(daily.days - 1)
        raise DataError(f"sold_out={path}: no day is one of the log's, {daily.date(0)} to {last}.")
    found = np.zeros(daily.shown.shape, dtype=bool)
    found[rows[inside], day[inside]] = True
    return found


def sold_out_in_world(daily: Daily, truth: Chances) -> NDArray[np.bool_]:
    """(S, T) days on which the marketplace's shelf was empty: its records, not its shoppers' chances. A day on which
    the log did not show the item counts as one with stock.
    """
    whole = Span(0, daily.days)
    return daily.summed(truth, (truth.wanted > truth.sold * 1.001).astype(np.float64), whole) > 0


def _frame(path: Path, key: str, known: tuple[str, ...], needed: tuple[str, ...]) -> pd.DataFrame:
    frame = read_frame(path, key)
    if unknown := sorted(set(frame.columns) - set(known)):
        raise DataError(f"{key}={path}: column {unknown[0]!r} is none of {', '.join(known)}.")
    if missing := [name for name in needed if name not in frame]:
        raise DataError(f"{key}={path}: column {missing[0]!r} is missing; a row needs {' and '.join(needed)}.")
    return frame


def _places(path: Path, key: str, items: pd.Series[str], names: list[str]) -> NDArray[np.int64]:
    place = {name: number for number, name in enumerate(names)}
    if len(strange := items[~items.isin(place)]):
        raise DataError(
            f"{key}={path}: {len(strange)} row(s) are of items that the log has not shown, the first "
            f"{strange.iloc[0]!r}; no order can be told for them: leave them out."
        )
    return np.array([place[item] for item in items], dtype=np.int64)


def _numbers(path: Path, name: str, column: pd.Series[float], above: bool) -> Floats:
    found = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(found) | (found <= 0 if above else found < 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        least = "above 0" if above else "0 or more"
        raise DataError(f"on_hand={path}: row {row + 1} has {name}={column.iloc[row]}; it must be a number, {least}.")
    return found
