"""Build a log store from a source, as a stream: nothing but integers is ever held for the whole log."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from funneltune.data.folders import built_folder
from funneltune.data.requests import RequestTable
from funneltune.data.sources.protocol import Source
from funneltune.data.store import DELAY, MANIFEST, VERSION, LogStore, Side, stores
from funneltune.errors import DataError
from funneltune.funnel import Task, TaskFunnel

IDENTIFIERS = {"request": np.int64, "user": np.int32, "query": np.int32, "item": np.int32}


class StoreWriter:
    """Takes a source's tables and its impressions, chunk by chunk, rows of a request together and in order."""

    def __init__(self, folder: Path, tasks: TaskFunnel, quarantine: Path) -> None:
        self.folder = folder
        self.quarantine = quarantine
        """Where a source lists rows that it leaves out: it outlives the store, and a log that is refused."""
        self.tasks = tasks
        self.counts: dict[str, int] = {}
        self.notes: dict[str, Any] = {}
        """What the source dropped or changed, counted; kept in the store's manifest."""
        self._writer: pa.RecordBatchFileWriter | None = None
        self._file: Any = None
        self._requests = RequestTable(tasks)

    def __enter__(self) -> StoreWriter:
        """Nothing to open until the first rows come."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open."""
        if self._writer is not None:
            self._writer.close()
            self._file.close()

    def entities(self, side: Side, columns: Mapping[str, Any]) -> None:
        """Write the table of queries, items or users: `key` and any further columns, one row per identifier."""
        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        self._write(side, table)
        self.counts[side] = table.num_rows

    def vectors(self, name: str, values: NDArray[np.float32]) -> None:
        """Write a fixed vector for each item: (items, width)."""
        np.save(self.folder / f"vectors-{name}.npy", values.astype(np.float32))

    def impressions(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Append rows. Requests are numbered 0, 1, 2, ... over all calls.

        Raises:
            DataError: if a request comes back after another one, or a label is not 0 or 1.
        """
        request = np.asarray(columns["request"], dtype=np.int64)
        if not len(request):
            return
        steps = np.diff(request, prepend=self._requests.last)
        if ((steps < 0) | (steps > 1)).any():
            raise DataError("the source hands over requests out of order; rows of a request must lie together.")
        typed = {name: np.asarray(columns[name], dtype=kind) for name, kind in IDENTIFIERS.items()}
        for task in self.tasks.names:
            typed[task] = _checked_label(np.asarray(columns[task]), self.tasks[task])
        for name, values in columns.items():
            if name not in typed:
                array = np.asarray(values)
                typed[name] = array.astype(np.float32) if array.dtype == np.float64 and name != "time" else array
            if name.startswith(DELAY):
                self._settle_delay(typed, name.removeprefix(DELAY))
        self._requests.add(typed)
        batch = pa.record_batch({name: pa.array(values) for name, values in typed.items()})
        if self._writer is None:
            self._file = pa.OSFile(str(self.folder / "impressions.parts.arrow"), "wb")
            self._writer = pa.ipc.new_file(self._file, batch.schema)
        self._writer.write_batch(batch)
        self.counts["impressions"] = self.counts.get("impressions", 0) + len(request)

    def _settle_delay(self, columns: dict[str, NDArray[Any]], task: str) -> None:
        """An event behind its task's window does not count; a delay is of an event."""
        if task not in [one.name for one in self.tasks.binary]:
            return
        window, delay = self.tasks[task].window, f"{DELAY}{task}"
        late = (columns[task] == 1) & (columns[delay] > (np.inf if window is None else window))
        columns[task] = np.where(late, 0, columns[task]).astype(columns[task].dtype)
        columns[delay] = np.where(columns[task] == 1, columns[delay], 0).astype(np.float32)
        if late.any():
            counted = self.notes.setdefault("events behind the window, which do not count", {})
            counted[task] = counted.get(task, 0) + int(late.sum())

    def finish(self) -> None:
        """Write the requests, and the impressions again as one record batch, so that every column is one zero-copy
        array. Columns lie in files while that is done, not in memory.
        """
        if self._writer is None:
            raise DataError("the source has no rows; a log needs at least one impression.")
        self._writer.close()
        self._file.close()
        self._writer = None
        self._write("requests", self._requests.table())
        parts = self.folder / "impressions.parts.arrow"
        with tempfile.TemporaryDirectory(dir=self.folder) as aside, pa.memory_map(str(parts)) as source:
            table = pa.ipc.open_file(source).read_all()
            whole = {
                name: _laid_out(table.column(name), Path(aside) / f"{n}.npy")
                for n, name in enumerate(table.column_names)
            }
            self._write("impressions", pa.table(whole))
        parts.unlink()

    def _write(self, name: str, table: pa.Table) -> None:
        target = str(self.folder / f"{name}.arrow")
        with pa.OSFile(target, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)


def _laid_out(column: pa.ChunkedArray, path: Path) -> NDArray[Any]:
    """A column end to end in a file."""
    found = np.lib.format.open_memmap(path, "w+", column.type.to_pandas_dtype(), (len(column),))
    start = 0
    for chunk in column.chunks:
        found[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        start += len(chunk)
    return found


def _checked_label(label: NDArray[Any], task: Task) -> NDArray[Any]:
    """Labels in the store's types: 0 or 1, the number of a level, a finite number."""
    if task.kind == "regression":
        if not np.isfinite(label).all():
            raise DataError(f"label {task.name!r} holds {label[~np.isfinite(label)][0]!r}; it must be a finite number.")
        return label.astype(np.float32)
    highest = len(task.levels) - 1 if task.has_levels else 1
    wrong = ~np.isin(label, np.arange(highest + 1))
    if wrong.any():
        rule = f"the number of a level, 0 to {highest}" if task.has_levels else "0 or 1"
        raise DataError(f"label {task.name!r} holds {label[wrong][0]!r}; a label is {rule}.")
    return label.astype(np.int16 if task.has_levels else np.int8)


def prepare(source: Source, tasks: TaskFunnel, cache_dir: Path, beside: Path | None = None) -> LogStore:
    """The store of a source's log: built once, then found by its fingerprint. It holds the labels that the log has;
    those of what comes next depend on a split, and are added where one is (`next_labels`).

    Args:
        source: Of the log.
        tasks: Whose labels it has.
        cache_dir: The folder of stores.
        beside: Where a file of rows that are left out goes; None: there too.

    Raises:
        DataError: whatever the source finds wrong with its log. Nothing but that file is left behind then.
    """
    described, tasks = source.describe(), tasks.logged
    fingerprint = stores(described, tasks)
    folder = cache_dir / f"log-{fingerprint[:16]}"
    with built_folder(folder) as part:
        if part is not None:
            left_out = (beside or cache_dir) / f"quarantine-{fingerprint[:16]}.csv"
            with StoreWriter(part, tasks, left_out) as writer:
                source.write(writer)
                writer.finish()
            manifest = {
                "version": VERSION,
                "fingerprint": fingerprint,
                "source": described,
                "tasks": tasks.to_config(),
                "counts": writer.counts,
                "notes": writer.notes,
            }
            (part / MANIFEST).write_text(json.dumps(manifest, indent=1, default=str))
    return LogStore(folder)
