"""Groups of items and of shoppers, by a column of the log. Small ones are pooled.

Legend: E entities: the items, or the shoppers, of the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.fairness.rows import Rows, shopper_told
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError

Integers = NDArray[np.int64]
Side = Literal["item", "user"]
PRICE_BAND = "price_band"
BANDS = ("low", "middle-low", "middle-high", "high")
USUAL = ("seller", "brand", PRICE_BAND, "user.segment")


@dataclass(frozen=True)
class Groups:
    """The groups of one column."""

    column: str
    side: Side
    names: list[str]
    every: Integers
    """(all,) the group of each item (or shopper) of the log; -1: of a word that no row has, where none are pooled."""
    entity: Integers
    """(N,) from 0 over the entities that rows speak of."""
    number: Integers
    """(E,) each entity's number in the log."""
    pooled: int
    """Groups that are pooled as the last name; 0: none."""

    @property
    def code(self) -> Integers:
        """(E,) of each entity that rows speak of."""
        return self.every[self.number]

    @property
    def of_row(self) -> Integers:
        """(N,)."""
        return self.code[self.entity]

    def among(self, rows: Rows) -> Groups:
        """The same groups of other rows of the log."""
        number, place = np.unique(rows.item if self.side == "item" else rows.user, return_inverse=True)
        return replace(self, entity=place.astype(np.int64), number=number.astype(np.int64))


def usual(scorer: Scorer) -> list[str]:
    """Those of `USUAL` that the log has.

    Raises:
        ConfigError: if it has none of them.
    """
    found = []
    for column in USUAL:
        try:
            _values(scorer, column)
        except (ConfigError, DataError):
            continue
        found.append(column)
    if not found:
        raise ConfigError(
            f"run={scorer.folder}: its log has none of {', '.join(USUAL)}; name a column: by=COLUMN, of "
            f"{', '.join(scorer.catalogue.columns)}."
        )
    return found


def groups_of(scorer: Scorer, rows: Rows, column: str, smallest: int, most: int) -> Groups:
    """The groups of a column among the rows; those of fewer items (or shoppers), and all after the `most` largest, are
    pooled. Sizes are numbers of items, not of rows: rows tell how much was shown, which is what is asked about.

    Raises:
        ConfigError: if the log has no such column.
        DataError: if it tells no shopper, or fewer than two groups are left.
    """
    side, words = _values(scorer, column)
    return grouped(column, side, words, rows.item if side == "item" else rows.user, smallest, most)


def grouped(column: str, side: Side, words: Sequence[str], entity: Integers, smallest: int, most: int) -> Groups:
    """Groups from a word for each item (or shopper) of the log and the entity of each row; see `groups_of`.

    Raises:
        DataError: if fewer than two groups are left.
    """
    number, place = np.unique(entity, return_inverse=True)
    of_entity = np.asarray(words, dtype=object).astype(str)
    names, every = np.unique(of_entity, return_inverse=True)
    count = np.bincount(every[number], minlength=len(names))
    order = np.argsort(-count, kind="stable")
    kept = [int(one) for one in order[:most] if count[one] >= smallest]
    rest = int((count > 0).sum()) - len(kept)
    if len(kept) + (rest > 0) < 2 or not kept:
        raise DataError(
            f"by={column}: {len(kept) + rest} groups, the largest of {count[order[0]]:,} {side}s in the test rows; "
            f"one needs smallest={smallest} and another must be left: lower smallest, or choose another column."
        )
    new = np.full(len(names), len(kept) if rest else -1, dtype=np.int64)
    new[kept] = np.arange(len(kept))
    told = [str(names[one]) for one in kept] + ([f"{rest} smaller ones"] if rest else [])
    return Groups(column, side, told, new[every], place.astype(np.int64), number.astype(np.int64), rest)


def _values(scorer: Scorer, column: str) -> tuple[Side, list[str]]:
    """Whose column it is, and each one's word.

    Raises:
        ConfigError: if the log has no such column.
        DataError: if it is the shoppers', and the log tells none.
    """
    side, _, name = column.partition(".")
    if side == "user":
        table = scorer.assembly.data.store.table("users")
        if not shopper_told(scorer):
            raise DataError(f"by={column}: the log tells no shopper, so that there are no groups of them.")
        there = [one for one in table.column_names if one != "key"]
        if name not in there:
            near = get_close_matches(name, there, 1)
            hint = f"; did you mean user.{near[0]}?" if near else f"; it has {', '.join(there) or 'none'}."
            raise ConfigError(f"by={column}: the log's shoppers have no column {name!r}{hint}")
        return "user", _words(table.column(name).to_pylist())
    if column == PRICE_BAND:
        price = scorer.catalogue.price
        if price is None or not np.isfinite(price).any():
            raise ConfigError(f"by={PRICE_BAND}: the log tells no price (data.source.price); choose another column.")
        edges = np.nanquantile(price, (0.25, 0.5, 0.75))
        band = np.searchsorted(edges, price, side="left")
        return "item", [BANDS[one] if np.isfinite(of) else "none" for one, of in zip(band, price, strict=True)]
    name = name if side == "item" else column
    if name not in scorer.catalogue.columns or name == "key":
        there = [one for one in scorer.catalogue.columns if one != "key"]
        near = get_close_matches(name, [*there, PRICE_BAND], 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; they have {', '.join(there)}, and shoppers user.COLUMN."
        raise ConfigError(f"by={column}: the log's items have no column {name!r}{hint}")
    return "item", _words(scorer.catalogue.column(name).tolist())


def _words(values: Sequence[object]) -> list[str]:
    return ["none" if one is None or one != one or one == "" else str(one) for one in values]
