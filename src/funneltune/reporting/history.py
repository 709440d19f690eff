"""What a run logged over time, read back: a curve by its name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from funneltune.records import StoredRun

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]


def names(run: StoredRun) -> tuple[str, ...]:
    """The names that a run's history holds (of evidence: those that a report reads)."""
    return tuple(_curves(run.history)) if run.history else ()


def curve(run: StoredRun, name: str) -> Curve:
    """Steps and values of one name, steps ascending; empty where the history does not hold it."""
    empty = (np.empty(0, np.int64), np.empty(0))
    return _curves(run.history).get(name, empty) if run.history else empty


@lru_cache(maxsize=64)
def _read(path: Path, modified: int) -> dict[str, Curve]:  # noqa: ARG001 (a file that is written again is read again)
    table = pq.read_table(path, columns=["step", "name", "value"]).sort_by("step")
    steps, values = table["step"].to_numpy(), table["value"].to_numpy()
    of_row = table["name"].combine_chunks().dictionary_encode()
    codes, known = of_row.indices.to_numpy(), of_row.dictionary.to_pylist()
    return {name: (steps[codes == code], values[codes == code]) for code, name in enumerate(known)}


def _curves(path: Path) -> dict[str, Curve]:
    return _read(path, path.stat().st_mtime_ns)
