"""How long after an impression an event came: a column of delays, or of moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.errors import ConfigError

DAYS = {"seconds": 1 / 86_400, "minutes": 1 / 1440, "hours": 1 / 24, "days": 1.0}
LATEST = 1e11
"""Unix seconds of the year 5138: a greater number counts milliseconds, or finer."""
MOMENT = "unix seconds or ISO 8601 (milliseconds are divided by 1,000)"
"""What a time must be, in words."""


@dataclass(frozen=True)
class Lateness:
    """Where a task's delay is told: in `column`, in some unit, or as the moment of the event (`unit` None)."""

    column: str
    unit: str | None

    @classmethod
    def parse(cls, task: str, node: Any) -> Lateness:
        """`purchase: {column: days_to_purchase, unit: days}`, or `purchase: {at: bought_at}`."""
        where = f"data.source.delays.{task}={node!r}"
        if isinstance(node, Mapping) and set(node) == {"at"}:
            return cls(str(node["at"]), None)
        if not isinstance(node, Mapping) or set(node) != {"column", "unit"}:
            raise ConfigError(f"{where} must be {{column: ..., unit: ...}}, or {{at: COLUMN}} for moments of events.")
        if node["unit"] not in DAYS:
            raise ConfigError(f"{where}: unit must be one of {', '.join(DAYS)}.")
        return cls(str(node["column"]), str(node["unit"]))

    @property
    def rule(self) -> str:
        """What a value must be where the event happened, in words."""
        return "a moment, not before the impression" if self.unit is None else f"a number of {self.unit}, at least 0"

    def days(
        self, raw: pd.Series[Any], label: NDArray[Any], time: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Days from each impression (`time`, unix seconds) to its event, 0 where there is none; and which rows have an
        event without a delay of at least 0.
        """
        if self.unit is None:
            assert time is not None
            found = (moments(raw) - time) / 86_400
        else:
            found = pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan) * DAYS[self.unit]
        happened = label == 1
        wrong = happened & ~(np.isfinite(found) & (found >= 0))
        return np.where(happened & ~wrong, found, 0.0), wrong


def moments(raw: pd.Series[Any]) -> NDArray[np.float64]:
    """Unix seconds of numbers that are such already, or of ISO 8601 texts (UTC where they name no zone); NaN for what
    is neither, and for numbers beyond `LATEST`.
    """
    numbers = pd.to_numeric(raw, errors="coerce")
    beyond = np.abs(numbers.to_numpy(dtype=np.float64, na_value=np.nan)) > LATEST
    if numbers.isna().any():
        found = pd.to_datetime(raw.where(numbers.isna()), errors="coerce", utc=True, format="ISO8601")
        # in microseconds: nanoseconds reach from 1677 to 2262 only
        numbers = numbers.fillna((found - pd.Timestamp(0, tz="UTC").as_unit("us")).dt.total_seconds())
    return np.where(beyond, np.nan, numbers.to_numpy(dtype=np.float64, na_value=np.nan))
