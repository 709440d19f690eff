"""One row per request, written with the log: what questions about whole requests need, without a pass over all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from funneltune.funnel import TaskFunnel

OBSERVED = "observed_"
ADDED = ("rows", "items", OBSERVED)


class RequestTable:
    """Gathers `requests.arrow` while a log is written.

    Columns: `rows`; `user`, `query` and `time` of the first row; `time_first` and `time_last`, the earliest and the
    latest; `items`, which tells sets of items apart whatever their order (the sum of their hashes modulo 2^64);
    `observed_TASK`, the rows where a task is observed.
    """

    def __init__(self, tasks: TaskFunnel) -> None:
        self.tasks = tasks
        self.last = -1
        """The last request so far."""
        self._parts: list[dict[str, NDArray[Any]]] = []

    def add(self, columns: dict[str, NDArray[Any]]) -> None:
        """Rows in the order of their requests; the first may go on with the last request of the call before."""
        request = columns["request"]
        starts = np.flatnonzero(np.diff(request, prepend=request[0] - 1))
        part = {"rows": np.diff(starts, append=len(request))}
        part |= {name: columns[name][starts] for name in ("user", "query", "time") if name in columns}
        if "time" in columns:
            part["time_first"] = np.minimum.reduceat(columns["time"], starts)
            part["time_last"] = np.maximum.reduceat(columns["time"], starts)
        part["items"] = np.add.reduceat(mixed(columns["item"]), starts)
        for task in self.tasks.names:
            seen = self.tasks.observed(columns, task).astype(np.int32)
            part[f"{OBSERVED}{task}"] = np.add.reduceat(seen, starts)
        if request[0] == self.last:
            part = self._joined(self._parts[-1], part)
        if len(part["rows"]):
            self._parts.append(part)
        self.last = int(request[-1])

    @staticmethod
    def _joined(before: dict[str, NDArray[Any]], part: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Add the first request of a part to the last of the part before; what is left of the part."""
        for name, values in part.items():
            if name.startswith(ADDED):
                before[name][-1:] += values[:1]  # arrays may run over, and should
            elif name in {"time_first", "time_last"}:
                before[name][-1] = (min if name == "time_first" else max)(before[name][-1], values[0])
        return {name: values[1:] for name, values in part.items()}

    def table(self) -> pa.Table:
        """All requests."""
        names = self._parts[0]
        return pa.table({name: np.concatenate([part[name] for part in self._parts]) for name in names})


def mixed(item: NDArray[Any]) -> NDArray[np.uint64]:
    """A hash of each number (SplitMix64, Steele et al. 2014)."""
    z = (item.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
