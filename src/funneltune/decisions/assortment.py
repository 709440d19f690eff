"""What competes for places: the items of a run's log, and new ones by their text and fields. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.errors import ConfigError, DataError

READERS: dict[str, Any] = {
    ".csv": pd.read_csv,
    ".parquet": partial(pd.read_parquet, page_checksum_verification=True),
    ".jsonl": pd.read_json,
}


class Catalogue(Protocol):
    """The items of a log, as `decisions.Items` has them."""

    @property
    def keys(self) -> list[str]:
        """Their identifiers."""
        ...

    @property
    def titles(self) -> list[str]:
        """Their texts."""
        ...

    @property
    def columns(self) -> list[str]:
        """What is told of them, by name."""
        ...

    @property
    def price(self) -> NDArray[np.float64] | None:
        """Their prices."""
        ...

    def column(self, name: str) -> NDArray[Any]:
        """One of the columns."""
        ...


@dataclass(frozen=True)
class Assortment:
    """Items by number: those of the log, then the new ones.

    Args:
        catalogue: Of the log.
        new: Fields of each new item; `item` is its identifier.

    Raises:
        ConfigError: if a new item has no identifier, or one that is taken.
    """

    catalogue: Catalogue
    new: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        """Refuse new items that cannot be told from others."""
        taken = set(self.catalogue.keys) if self.new else set()
        for one in self.new:
            key = str(one.get("item", ""))
            if not key or key in taken:
                raise ConfigError(
                    f"new: item={key!r} must be an identifier that no other item has; rename it, or leave it out."
                )
            taken.add(key)

    def __len__(self) -> int:
        """How many."""
        return len(self.keys)

    @cached_property
    def known(self) -> int:
        """How many of them the log has: the new ones are numbered from here on."""
        return len(self.catalogue.keys)

    @cached_property
    def keys(self) -> list[str]:
        """Identifiers."""
        return [*self.catalogue.keys, *(str(one["item"]) for one in self.new)]

    @cached_property
    def titles(self) -> list[str]:
        """Texts; of a new item its title."""
        return [*self.catalogue.titles, *(str(one.get("title", one["item"])) for one in self.new)]

    @cached_property
    def price(self) -> NDArray[np.float64] | None:
        """Prices, NaN where none is known; None where none is known at all."""
        mine = [_price(one) for one in self.new]
        if self.catalogue.price is None and not np.isfinite(mine).any():
            return None
        known = np.full(self.known, np.nan) if self.catalogue.price is None else self.catalogue.price
        return np.concatenate([known, mine])

    def number(self, key: str, what: str) -> int:
        """An item's number; `what` names the setting that asks.

        Raises:
            ConfigError: if there is no such item.
        """
        found = self._numbers.get(key)
        if found is None:
            raise ConfigError(f"{what}: {key!r} is none of the {len(self):,} items{_near(key, self.keys[:100_000])}")
        return found

    def codes(self, name: str, what: str) -> tuple[list[str], NDArray[np.int64]]:
        """A column as numbers: its values in their order, and (items,) the place of each item's; empty where unknown.

        Raises:
            ConfigError: if the items have no such column.
        """
        if name in self._codes:
            return self._codes[name]
        if name not in self.catalogue.columns:
            near = get_close_matches(name, self.catalogue.columns, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"they have {', '.join(self.catalogue.columns)}."
            raise ConfigError(f"{what}: the items have no column {name!r}; {hint}")
        mine = [one.get(name, "") for one in self.new]
        texts = np.array(["" if value is None else str(value) for value in [*self.catalogue.column(name), *mine]])
        values, codes = np.unique(texts, return_inverse=True)
        return self._codes.setdefault(name, (values.tolist(), codes.astype(np.int64)))

    @cached_property
    def _codes(self) -> dict[str, tuple[list[str], NDArray[np.int64]]]:
        """Columns that were asked for."""
        return {}

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {key: number for number, key in enumerate(self.keys)}


def new_items(path: Path) -> list[dict[str, Any]]:
    """The fields of new items from a CSV, Parquet or JSON-lines file; empty cells are left out.

    Raises:
        DataError: if it is no such file, or has no column `item`.
    """
    if not path.is_file():
        raise DataError(f"new={path} is no file; name one that ends in {', '.join(READERS)}.")
    if path.suffix not in READERS:
        raise DataError(f"new={path} must be a file that ends in {', '.join(READERS)}.")
    options: dict[str, Any] = {"lines": True} if path.suffix == ".jsonl" else {}
    try:
        frame: pd.DataFrame = READERS[path.suffix](path, **options)
    except (OSError, ValueError) as error:
        raise DataError(f"new={path} cannot be read ({(str(error).splitlines() or [''])[0]}).") from None
    if "item" not in frame:
        raise DataError(f"new={path} has no column item, the identifiers of the new items.")
    require_cells(frame, f"new={path}", ("item",))
    rows = frame.astype({"item": str}).to_dict("records")
    return [{str(name): value for name, value in row.items() if not pd.isna(value)} for row in rows]


def require_cells(frame: pd.DataFrame, what: str, needed: Sequence[str] = ()) -> None:
    """Refuse lists and mappings, which JSON lines may hold where a word or a number belongs, and needed cells without.

    Raises:
        DataError: naming column and row.
    """
    for name in frame.columns:
        nested = frame[name].map(lambda value: isinstance(value, (list, dict))).to_numpy(dtype=bool)
        if nested.any():
            raise DataError(
                f"{what}: column {name!r} has a list or mapping in row {nested.argmax() + 1}; write a word."
            )
    for name in needed:
        if (empty := frame[name].isna().to_numpy()).any():
            raise DataError(f"{what}: row {empty.argmax() + 1} has no {name}; give one, or leave the row out.")


def _price(fields: Mapping[str, Any]) -> float:
    """A new item's price, NaN where none is known."""
    try:
        return float(fields.get("price", np.nan))
    except (TypeError, ValueError):
        raise DataError(
            f"new: price={fields['price']!r} of item={str(fields['item'])!r} must be a number; mend it, or leave the "
            "cell empty."
        ) from None


def _near(word: str, options: Sequence[str]) -> str:
    """The rest of a sentence: a value that was probably meant."""
    found = get_close_matches(word, options, 1)
    return f"; did you mean {found[0]!r}?" if found else "."
