"""Exposure of groups (sellers, brands): what shares they are due, which of them a place is open to, what they got.

Legend: C candidates; G groups; p_a the share due to group a. NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Target = Literal["catalogue", "merit"]


@dataclass(frozen=True)
class Exposure:
    """Shares of a page for the groups of an item column.

    Args:
        column: Of the items: seller, brand, ...
        target: What a group is due. `catalogue`: its share of the items; `merit`: its share of the value of a request's
            candidates. A mapping from group to share fixes these; what is left goes to the others by `catalogue`.
    """

    column: str
    target: Target | Mapping[str, float] = "catalogue"

    def __post_init__(self) -> None:
        """Refuse a column without a name, an unknown target, shares that are none."""
        if not self.column:
            raise ConfigError("exposure.column='' names no column of the items; write one, such as seller or brand.")
        if not isinstance(self.target, Mapping):
            if self.target not in get_args(Target):
                raise ConfigError(
                    f"exposure.target={self.target!r} must be {' or '.join(get_args(Target))}, or shares by group: "
                    "{Acme: 0.3}."
                )
            return
        for group, share in self.target.items():
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise ConfigError(f"exposure.target.{group}={share!r} must be a share, from 0 to 1.")
        if sum(self.target.values()) > 1 + 1e-9:
            raise ConfigError(
                f"exposure.target has shares that add up to {sum(self.target.values()):g}; they must add up to 1 at "
                "most: lower one."
            )

    def due(self, names: Sequence[str], count: Integers, merit: Floats) -> Floats:
        """(G,) shares that add up to 1.

        Args:
            names: Of the groups.
            count: (G,) items of each in the catalogue.
            merit: (G,) value of each group's candidates; where all are 0, the catalogue's shares stand in.

        Raises:
            ConfigError: if a share is given to a group that the column does not have.
        """
        catalogue = np.asarray(count / count.sum(), dtype=np.float64)
        if self.target == "catalogue":
            return catalogue
        if self.target == "merit":
            return np.asarray(merit / merit.sum()) if merit.sum() > 0 else catalogue
        assert isinstance(self.target, Mapping)
        given = np.full(len(names), np.nan)
        place = {name: number for number, name in enumerate(names)}
        for group, share in self.target.items():
            if str(group) not in place:
                near = get_close_matches(str(group), names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise ConfigError(f"exposure.target.{group}: the items' {self.column} has no such value{hint}")
            given[place[str(group)]] = share
        rest = np.where(np.isnan(given), catalogue, 0.0)
        left = 1.0 - np.nansum(given)
        others = rest * (left / rest.sum()) if rest.sum() > 0 else rest
        due = np.where(np.isnan(given), others, given)
        return np.asarray(due / due.sum() if due.sum() > 0 else catalogue)


@dataclass(frozen=True)
class Shares:
    """Which groups a place is open to, so that each group's share of any top k is near what it is due.

    DetGreedy (Geyik et al. 2019, algorithm 2): in the top k, group a has at least floor(p_a k) and at most
    ceil(p_a k) items. Groups below their least come first; where none is, those below their most. With up to three
    groups the least always holds (their theorem); with more, two groups can fall due at one place.

    Args:
        group: (C,) of each candidate.
        share: (G,) p_a.
    """

    group: Integers
    share: Floats

    def open(self, place: int, shown: Integers, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(C,) the free candidates from which this place (from 1) is filled; all of them where no group can be served.

        Args:
            place: k.
            shown: (G,) items of each group above.
            free: (C,) what may be chosen at all.
        """
        least = np.floor(self.share * place + 1e-9)
        most = np.ceil(self.share * place - 1e-9)
        for groups in (shown < least, shown < most):
            found = free & groups[self.group]
            if found.any():
                return np.asarray(found)
        return free


def discounts(places: int) -> Floats:
    """(places,) how much a place is seen, 1 / log2(1 + place), as DCG has it (Singh and Joachims 2018)."""
    return np.asarray(1.0 / np.log2(np.arange(2, places + 2)))


def exposure(groups: Sequence[Integers], n_groups: int) -> Floats:
    """(G,) each group's share of what pages expose; `groups` has the group at each place of each page."""
    found = np.zeros(n_groups)
    for page in groups:
        found += np.bincount(page, weights=discounts(len(page)), minlength=n_groups)
    return found / found.sum() if found.sum() > 0 else found


def distance(shares: Floats, due: Floats) -> float:
    """Total variation: the exposure that would have to change hands for every group to have its due. 0 to 1."""
    return float(np.abs(shares - due).sum() / 2)
