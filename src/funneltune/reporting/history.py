"""What a run logged over time, read back: a curve by its name; and what of it evidence keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from funneltune.files import read_parquet, whole_file
from funneltune.records import StoredRun

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]

WHOLE = re.compile(r"(rank|gradient)/.*|validation/[^/\[]+/(expected_)?(auc|log_loss)")
"""Names that evidence keeps with every step."""
THINNED = re.compile(r"train/loss.*")
POINTS = 150
"""Steps, evenly apart, that evidence keeps of a training loss."""


def names(run: StoredRun) -> tuple[str, ...]:
    """The names that a run's history holds (of evidence: those that a report reads)."""
    return tuple(_curves(run.history)) if run.history else ()


def curve(run: StoredRun, name: str) -> Curve:
    """Steps and values of one name, steps ascending; empty where the history does not hold it."""
    empty = (np.empty(0, np.int64), np.empty(0))
    return _curves(run.history).get(name, empty) if run.history else empty


def keep_history(run: StoredRun, target: Path, metrics: Sequence[str] = ()) -> None:
    """Write to `target` what a report reads of a run's history: ranks, gradients, validated AUCs, log losses and
    `metrics`, and the training losses, thinned. Nothing where there is none of it.
    """
    curves = _curves(run.history) if run.history else {}
    named = {f"validation/{metric}" for metric in metrics}
    kept = {name: found for name, found in curves.items() if WHOLE.fullmatch(name) or name in named}
    kept |= {name: thinned(found) for name, found in curves.items() if THINNED.fullmatch(name)}
    if not kept:
        return
    columns = {
        "step": np.concatenate([steps for steps, _ in kept.values()]),
        "name": [name for name, (steps, _) in kept.items() for _ in steps],
        "value": np.concatenate([values for _, values in kept.values()]),
    }
    with whole_file(target) as part:
        pq.write_table(pa.table(columns), part, compression="zstd", write_page_checksum=True)


def thinned(found: Curve, points: int = POINTS) -> Curve:
    """At most so many of a curve's points, its first and its last among them."""
    steps, values = found
    if len(steps) <= points:
        return found
    kept = np.linspace(0, len(steps) - 1, points).round().astype(np.int64)
    return steps[kept], values[kept]


@lru_cache(maxsize=64)
def _read(path: Path, modified: int) -> dict[str, Curve]:  # noqa: ARG001 (a file that is written again is read again)
    table = read_parquet(path, ["step", "name", "value"]).sort_by("step")
    steps, values = table["step"].to_numpy(), table["value"].to_numpy()
    of_row = table["name"].combine_chunks().dictionary_encode()
    codes, known = of_row.indices.to_numpy(), of_row.dictionary.to_pylist()
    return {name: (steps[codes == code], values[codes == code]) for code, name in enumerate(known)}


def _curves(path: Path) -> dict[str, Curve]:
    return _read(path, path.stat().st_mtime_ns)
