"""What a merchandiser decides: what may be shown, what counts for more, what stands where. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.decisions.assortment import Assortment
from funneltune.decisions.order import Limit
from funneltune.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Values = Mapping[str, Sequence[str]]
READERS: dict[str, Any] = {".csv": pd.read_csv, ".parquet": partial(pd.read_parquet, page_checksum_verification=True)}


@dataclass(frozen=True)
class Rules:
    """Rules of a shop.

    Args:
        stock: A CSV or Parquet file with `item` and `stock`, or a column of the items: what has none is dropped. An
            item that the file does not name is out of stock.
        price: Lowest and highest price shown; null: none.
        only: Column -> its values that are shown.
        without: Column -> its values that are not shown.
        boost: Column -> value -> factor of its items' value: above 1 boosts, below 1 buries.
        at_most: Column -> most items of a value on a page.
        pinned: Identifiers for the first places, or place -> identifier. A pinned item yields to no rule but stock.

    Raises:
        ConfigError: if a number is out of range, or an item is pinned twice.
    """

    stock: str = ""
    price: Sequence[float | None] = (None, None)
    only: Values = field(default_factory=dict)
    without: Values = field(default_factory=dict)
    boost: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    at_most: Mapping[str, int] = field(default_factory=dict)
    pinned: Sequence[str] | Mapping[int, str] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if len(self.price) != 2 or not all(bound is None or _is_number(bound, 0.0) for bound in self.price):
            raise ConfigError(f"rules.price={list(self.price)} must be two numbers >= 0 or null: [10, 50], [null, 50].")
        low, high = self.price
        if low is not None and high is not None and low > high:
            raise ConfigError(f"rules.price={list(self.price)}: the lowest is above the highest; turn them round.")
        for column, factors in self.boost.items():
            for value, factor in factors.items():
                if not _is_number(factor, 0.0):
                    raise ConfigError(f"rules.boost.{column}.{value}={factor!r} must be a number >= 0 (1: no change).")
        for column, most in self.at_most.items():
            if isinstance(most, bool) or not isinstance(most, int) or most < 1:
                raise ConfigError(f"rules.at_most.{column}={most!r} must be a whole number >= 1.")
        places = self.places
        if not all(isinstance(place, int) and place >= 1 for place in places):
            raise ConfigError(f"rules.pinned: places must be whole numbers >= 1, not {[*places]}.")
        if len(set(places.values())) < len(places):
            raise ConfigError(f"rules.pinned={list(places.values())} names an item twice; give it one place.")

    @property
    def places(self) -> dict[int, str]:
        """Place -> identifier of what is pinned."""
        if isinstance(self.pinned, Mapping):
            return {place: str(key) for place, key in self.pinned.items()}
        return {place: str(key) for place, key in enumerate(self.pinned, start=1)}

    def on(self, items: Assortment) -> RulesOn:
        """The rules on some items, worked out once.

        Raises:
            ConfigError: if a column or a value is none of the items', or nothing is left.
            DataError: if the stock file cannot be read.
        """
        drops: dict[str, Flags] = {}
        if self.stock:
            drops["stock"] = ~self._in_stock(items)
        if any(bound is not None for bound in self.price):
            drops["price"] = self._outside(items)
        for column, values in self.only.items():
            drops[f"only {column}"] = ~_among(items, column, values, "rules.only")
        for column, values in self.without.items():
            drops[f"without {column}"] = _among(items, column, values, "rules.without")
        factor = np.ones(len(items))
        for column, factors in self.boost.items():
            for value, times in factors.items():
                factor[_among(items, column, [value], "rules.boost")] *= times
        kinds = {column: items.codes(column, "rules.at_most")[1] for column in self.at_most}
        pinned = {place: items.number(key, "rules.pinned") for place, key in self.places.items()}
        found = RulesOn(drops, factor, {c: (codes, self.at_most[c]) for c, codes in kinds.items()}, pinned, len(items))
        if not found.allowed(np.arange(len(items))).any() and not found.pins:
            raise ConfigError(f"rules leave none of the {len(items):,} items: {found.told(np.arange(len(items)))}.")
        return found

    def _in_stock(self, items: Assortment) -> Flags:
        if Path(self.stock).suffix not in READERS:
            names, codes = items.codes(self.stock, "rules.stock")
            return np.asarray(_numbers(names, f"rules.stock={self.stock}")[codes] > 0)
        frame = _table(Path(self.stock))
        count = dict(zip(frame["item"].astype(str), _numbers(frame["stock"], f"rules.stock={self.stock}"), strict=True))
        return np.array([count.get(key, 0.0) > 0 for key in items.keys])

    def _outside(self, items: Assortment) -> Flags:
        if items.price is None:
            raise ConfigError(
                f"rules.price={list(self.price)} needs prices, and the log has none; leave the rule out, or give the "
                "log a price column (data.source.price)."
            )
        low, high = self.price
        inside = (items.price >= (low or 0.0)) & (items.price <= (math.inf if high is None else high))
        return np.asarray(~inside)  # an unknown price is outside


@dataclass(frozen=True)
class RulesOn:
    """Rules on the items of a catalogue.

    Args:
        drops: Rule -> (items,) what it drops.
        factor: (items,) of their value.
        kinds: Column -> (items,) a number for each value, and the most of one on a page.
        pins: Place -> item.
        n_items: Of the catalogue.
    """

    drops: Mapping[str, Flags]
    factor: Floats
    kinds: Mapping[str, tuple[Integers, int]]
    pins: Mapping[int, int]
    n_items: int

    def allowed(self, candidates: Integers) -> Flags:
        """(C,) which candidates may be shown; what is pinned may, unless it is out of stock."""
        found = np.ones(len(candidates), dtype=bool)
        for rule, dropped in self.drops.items():
            left = ~dropped[candidates]
            found &= left if rule == "stock" else left | np.isin(candidates, list(self.pins.values()))
        return found

    def limits(self, candidates: Integers) -> list[Limit]:
        """At most so many of a kind, for some candidates."""
        return [Limit(column, codes[candidates], most) for column, (codes, most) in self.kinds.items()]

    def told(self, candidates: Integers) -> str:
        """How many of some candidates each rule drops."""
        dropped = {rule: int(flags[candidates].sum()) for rule, flags in self.drops.items()}
        return ", ".join(f"{rule} drops {count:,}" for rule, count in dropped.items() if count) or "nothing is dropped"


def _among(items: Assortment, column: str, values: Sequence[str], what: str) -> Flags:
    """(items,) whether an item's column has one of some values."""
    names, codes = items.codes(column, what)
    for value in values:
        if str(value) not in names:
            near = get_close_matches(str(value), names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ConfigError(f"{what}.{column}: no item has {str(value)!r}{hint}")
    return np.isin(codes, [names.index(str(value)) for value in values])


def _table(path: Path) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = READERS[path.suffix](path)
    except (OSError, ValueError) as error:
        raise DataError(f"rules.stock={path} cannot be read ({(str(error).splitlines() or [''])[0]}).") from None
    if missing := [name for name in ("item", "stock") if name not in frame]:
        raise DataError(f"rules.stock={path} has no column {missing[0]}; it needs item and stock.")
    return frame


def _numbers(values: Any, what: str) -> Floats:
    """Counts as numbers; an empty one is 0."""
    given = pd.Series(values, dtype=object).replace("", 0).fillna(0)
    found = pd.to_numeric(given, errors="coerce")
    if found.isna().any():
        raise DataError(f"{what}: {given[found.isna()].iloc[0]!r} is no count; write how many there are.")
    return found.to_numpy(dtype=np.float64)


def _is_number(value: Any, least: float) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value) and value >= least
