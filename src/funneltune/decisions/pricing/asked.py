"""Which items are priced, what they cost, and within which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from funneltune.decisions.pricing.settings import Settings
from funneltune.decisions.requests import read_frame
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError, RunError

COLUMNS = ("item", "cost", "low", "high")


@dataclass(frozen=True)
class Wanted:
    """An item to price, in money."""

    item: int
    key: str
    now: float
    cost: float
    """Of a unit; NaN: unknown."""
    low: float
    high: float


def wanted(scorer: Scorer, settings: Settings, item: str = "", items: Path | None = None) -> list[Wanted]:
    """From one key, or a file with a row per item: item, and where they are known cost, low, high.

    Raises:
        ConfigError: if there is neither, an item is unknown, a bound or a cost is missing or cannot be.
        DataError: if the file cannot be read.
        RunError: if the log holds no price of an item.
    """
    if bool(item) == (items is not None):
        raise ConfigError("item=KEY or items=FILE: give one of them, and not both.")
    frame = pd.DataFrame({"item": [item]}) if items is None else _read(items)
    return [_one(scorer, settings, row) for _, row in frame.iterrows()]


def _read(path: Path) -> pd.DataFrame:
    frame = read_frame(path, "items")
    if "item" not in frame:
        raise DataError(f"items={path}: column 'item' is missing; it needs item, and may have cost, low, high.")
    if unknown := sorted(set(frame.columns) - set(COLUMNS)):
        raise DataError(f"items={path}: column {unknown[0]!r} is none of {', '.join(COLUMNS)}.")
    if frame["item"].duplicated().any():
        raise DataError(f"items={path}: item={frame['item'][frame['item'].duplicated()].iloc[0]} has two rows.")
    for name in set(frame.columns) & set(COLUMNS[1:]):
        read = pd.to_numeric(frame[name], errors="coerce")
        wrong = (read.isna() & frame[name].notna()) | (read < 0) | np.isinf(read)
        if wrong.any():
            raise DataError(
                f"items={path}: row {int(np.argmax(wrong)) + 1} has {name}={frame[name][wrong].iloc[0]}; "
                "it must be money, 0 or more, or empty."
            )
        frame[name] = read
    return frame


def _one(scorer: Scorer, settings: Settings, row: pd.Series[Any]) -> Wanted:
    key = str(row["item"])
    number = scorer.catalogue.number(key)
    latest = scorer.rows.latest_price
    now = float("nan") if latest is None else float(latest[number])
    if not np.isfinite(now) and scorer.catalogue.price is not None:
        now = float(scorer.catalogue.price[number])
    if not now > 0:
        raise RunError(f"item={key}: the log holds no price of it, and a grid goes from the price now.")
    share = float("nan") if settings.cost_share is None else settings.cost_share * now
    cost = _told(row, "cost", share if settings.cost is None else settings.cost)
    if settings.goal == "profit" and not np.isfinite(cost):
        raise ConfigError(f"goal=profit needs what item={key} costs: cost=MONEY, cost_share=0.6, or a column cost.")
    low = _told(row, "low", 0.0 if settings.low is None else settings.low)
    high = _told(row, "high", np.inf if settings.high is None else settings.high)
    if low > high:
        raise ConfigError(f"item={key}: low={low:g} must be <= high={high:g}.")
    return Wanted(number, key, now, cost, low, high)


def _told(row: pd.Series[Any], name: str, otherwise: float) -> float:
    value = row.get(name)
    return otherwise if value is None or pd.isna(value) else float(str(value))
