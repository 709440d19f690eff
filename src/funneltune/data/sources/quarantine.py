"""Rows with faults, left out of a log up to a limit, and written down for whoever is to mend them."""

from __future__ import annotations

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.files import whole_file

HEADER = ("file", "row", "column", "value", "rule")
WRITTEN = 1_000_000
"""Faults that the file holds; further ones are counted."""
SHOWN = 8
"""Rules that a message counts one by one."""


@dataclass(frozen=True)
class BadRows:
    """How many rows with faults a log may lose.

    Args:
        limit: Below 1 a share of the rows that belong to the log, else a whole number of them.
        folder: Where the file of them goes; None: beside the store.
    """

    limit: float
    folder: str | None = None

    @classmethod
    def parse(cls, node: Any) -> BadRows | None:
        """`data.source.bad_rows`: null, a number, or {limit, folder}.

        Raises:
            ConfigError: naming what it may be.
        """
        if node is None:
            return None
        rule = (
            "must be null (a row with a fault refuses the log), a share of the rows below 1, a whole number of rows, "
            "or {limit: either, folder: where the file of them goes}"
        )
        fields = dict(node) if isinstance(node, Mapping) else {"limit": node}
        limit, folder = fields.pop("limit", None), fields.pop("folder", None)
        number = isinstance(limit, (int, float)) and not isinstance(limit, bool) and np.isfinite(limit) and limit > 0
        if fields or not number or (limit >= 1 and limit != int(limit)):
            raise ConfigError(f"data.source.bad_rows={node!r} {rule}.")
        there = [] if folder is None else [path for path in (Path(folder), *Path(folder).parents) if path.exists()]
        if there and not there[0].is_dir():
            raise ConfigError(f"data.source.bad_rows.folder={folder}: {there[0]} is a file; name a folder.")
        return cls(float(limit), None if folder is None else str(folder))

    def describe(self) -> float:
        """What decides the log; where the file lies does not."""
        return self.limit

    def allows(self, rows: int) -> int:
        """Rows that so long a log may lose."""
        return int(self.limit * rows) if self.limit < 1 else int(self.limit)


class Quarantine:
    """The rows that a pass over a log leaves out. Grows on disk; the rules that they break are counted. A context.

    Args:
        bad_rows: The limit.
        folder: For the file until it is whole; None: the system's.
    """

    def __init__(self, bad_rows: BadRows, folder: Path | None = None) -> None:
        self.bad_rows, self.rows = bad_rows, 0
        self.counts: Counter[str] = Counter()
        """Column and rule -> how often it was broken."""
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", newline="", dir=folder)  # noqa: SIM115 (`__exit__`)
        self._chunk: list[tuple[int, str, str, str]] = []
        self._written = self._last = 0
        self._late: list[tuple[int, list[str]]] = []
        """Faults of rows that an earlier flush has passed: those that only the whole log shows."""

    def __enter__(self) -> Self:
        """Nothing more to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """The file that grew is no longer needed."""
        self._file.close()

    def add(self, rows: NDArray[np.int64], column: str, values: Sequence[str], rule: str) -> None:
        """Faults of rows (their numbers in the log), one each."""
        self._chunk += [(int(row), column, value, rule) for row, value in zip(rows, values, strict=True)]

    def flush(self, place: Callable[[int], tuple[str, int]]) -> None:
        """Count and write what was added since; `place`: number in the log -> file, and number in it."""
        self.rows += len({row for row, *_ in self._chunk})
        for row, column, value, rule in sorted(set(self._chunk)):  # a role and a schema may say the same
            self.counts[f"column {column!r}: {rule}" if column else rule] += 1
            if self._written < WRITTEN:
                file, number = place(row)
                line = [file, str(number), column, value, rule]
                if row < self._last:
                    self._late.append((row, line))
                else:
                    self._file.write(f"{json.dumps([row, line])}\n")
                self._written += 1
                self._last = max(self._last, row)
        self._chunk = []

    def _lines(self) -> Iterator[list[str]]:
        """What was written, by row."""
        self._file.seek(0)
        return (line for _, line in merge(map(json.loads, self._file), self._late, key=lambda numbered: numbered[0]))

    def settle(self, rows: int, target: Path) -> tuple[dict[str, Any], str | None]:
        """Write the file, if there is anything to write.

        Args:
            rows: Rows that stay.
            target: The file; its folder is another one if the limit names that.

        Returns:
            What the store's notes keep, and what refuses the log: more than the limit, or nothing left.
        """
        if not self.rows:
            return {}, None
        if self.bad_rows.folder is not None:
            target = Path(self.bad_rows.folder) / target.name
        with whole_file(target) as part, part.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(HEADER)
            csv.writer(file).writerows(self._lines())
        total, faults = rows + self.rows, self.counts.total()
        cut = f" (the first {WRITTEN:,} of {faults:,} faults)" if faults > WRITTEN else ""
        allowed = self.bad_rows.allows(total)
        if rows and self.rows <= allowed:
            return {"rows": self.rows, **dict(self.counts.most_common()), "file": f"{target}{cut}"}, None
        told = "; ".join(f"{rule} ({count:,})" for rule, count in self.counts.most_common(SHOWN))
        told += f"; and {rest} more rules" if (rest := len(self.counts) - SHOWN) > 0 else ""
        none = "" if rows else ", and no row is left"
        return {}, (
            f"{self.rows:,} of {total:,} rows have faults, data.source.bad_rows={self.bad_rows.limit:g} allows "
            f"{allowed:,}{none}: {told}; they are listed in {target}{cut}; mend them, or raise the limit"
        )
