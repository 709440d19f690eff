"""Rows that repeat another one of the log: the same item, shown in the same request, at the same position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.data.sources.collected import FILE_ROW, Collected
from funneltune.data.sources.roles import Roles
from funneltune.errors import ConfigError

Word = Literal["refuse", "drop", "keep"]
WHERE = "data.source.duplicates"


@dataclass(frozen=True)
class Repeats:
    """What is done about rows that repeat an earlier one: nothing (None: they are not even looked for), or a word.

    Two rows are the same where request, item and (if it is mapped) position are; where each row is a request of its
    own, where user, query, item and, as far as they are mapped, time and position are. Labels are not compared.
    """

    word: Word | None = None

    @classmethod
    def parse(cls, word: Any, roles: Roles) -> Repeats:
        """`refuse`, `drop`, `keep` (and count), or None.

        Raises:
            ConfigError: for another word, or where the log's rows cannot repeat.
        """
        if word is not None and word not in get_args(Word):
            raise ConfigError(f"{WHERE}={word!r} must be null, refuse, drop or keep.")
        if word is not None and roles.item is None:
            raise ConfigError(f"{WHERE}={word}: rows are about no item, so none repeats; map data.source.item.")
        return cls(word)

    def settle(
        self, columns: Mapping[str, NDArray[Any]], kept: NDArray[np.bool_], roles: Roles, seen: Collected
    ) -> NDArray[np.bool_]:
        """The rows that stay, of those that are `kept`; counted in the notes, refusals among the faults."""
        if self.word is None:
            return kept
        rows = np.flatnonzero(kept)
        whose = ["request"] if roles.tells_requests else ["user", "query", *(["time"] if "time" in columns else [])]
        keys = [columns[name][rows] for name in (*whose, "item", *(["position"] if "position" in columns else []))]
        order = np.lexsort(keys[::-1])  # stable: of equal rows the first in the file stays first
        same = np.ones(max(len(rows) - 1, 0), dtype=bool)
        for key in keys:
            same &= key[order][1:] == key[order][:-1]
        if not same.any():
            return kept
        begins = np.maximum.accumulate(np.where(np.r_[True, ~same], np.arange(len(rows)), 0))
        again, first = rows[order[1:][same]], rows[order[begins[1:][same]]]
        of_file = np.argsort(again)
        again, first = again[of_file], first[of_file]
        stays, named = kept.copy(), "position" in columns
        if self.word != "keep":
            stays[again] = False
        what = "item and request" if roles.tells_requests else "user, query, item and time"
        rule = f"{what}{' and position' if named else ''} of an earlier row"
        numbers, repeated = np.asarray(columns[FILE_ROW])[again], np.asarray(columns[FILE_ROW])[first]
        if self.word == "refuse" and seen.quarantine is not None:
            told = [f"repeats {seen.spelt(int(row))}" for row in repeated]
            seen.quarantine.add(numbers, str(roles.item), told, f"it must not repeat {rule}")
            return stays
        if self.word == "refuse":
            seen.faults.append(
                f"{len(again):,} row(s) repeat {rule}, first {seen.spelt(int(numbers[0]))} (it repeats "
                f"{seen.spelt(int(repeated[0]))}); remove them, or write duplicates: drop or keep under source"
            )
        seen.notes["repeated rows"] = {"kept" if self.word == "keep" else "dropped": len(again)}
        return stays
