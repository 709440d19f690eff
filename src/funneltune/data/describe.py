"""What a log holds, for people: `funneltune data describe` and `validate`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.datamodule import LogDataModule
from funneltune.data.sources import Source
from funneltune.data.write import prepare
from funneltune.funnel import Task, TaskFunnel


def describe(data: LogDataModule) -> dict[str, Any]:
    """Counts, rates, splits and what the source dropped or changed."""
    store = data.store
    labels = {name: store.column(name) for name in store.funnel.names}
    rates = {}
    for task in store.funnel.tasks:
        seen = store.funnel.observed(labels, task.name)
        if not task.binary:
            rates[task.rate] = _spread(task, labels[task.name][seen])
            continue
        rates[task.rate] = {
            "rows": int(seen.sum()),
            "positives": int(labels[task.name][seen].sum()),
            "rate": float(labels[task.name][seen].mean()) if seen.any() else None,
        }
    sizes = np.diff(store.request_offsets)
    return {
        "impressions": store.n_rows,
        "requests": store.n_requests,
        "rows per request": {"least": int(sizes.min()), "mean": float(sizes.mean()), "most": int(sizes.max())},
        "queries": store.table("queries").num_rows,
        "items": store.table("items").num_rows,
        "users": store.table("users").num_rows,
        "rates": rates,
        "splits": {
            name: {"requests": len(data.requests(name)), "rows": len(data.rows(name))}
            for name in ("train", "validation", "test")
        },
        "oracle": any(name.startswith("oracle_p_") for name in store.table("impressions").column_names),
        "notes": {k: v for k, v in store.manifest["notes"].items() if k != "categories"},
        "fingerprint": store.fingerprint,
    }


def _spread(task: Task, label: NDArray[Any]) -> dict[str, Any]:
    """How a label that is not binary is distributed."""
    if task.has_levels:
        counts = np.bincount(label, minlength=len(task.levels))
        return {"rows": len(label), "levels": dict(zip(task.levels, counts.tolist(), strict=True))}
    quartiles = np.quantile(label, (0.25, 0.5, 0.75)).tolist() if len(label) else []
    return {"rows": len(label), "mean": float(label.mean()) if len(label) else None, "quartiles": quartiles}


def validate(source: Source, tasks: TaskFunnel) -> dict[str, int]:
    """Read a whole log as a run would, into a folder that is thrown away. Returns its counts.

    Raises:
        DataError: with every fault found.
    """
    with tempfile.TemporaryDirectory(prefix="funneltune-") as folder:
        return dict(prepare(source, tasks, Path(folder)).manifest["counts"])
