"""What a log holds, for people: `funneltune data describe` and `validate`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from funneltune.data.datamodule import LogDataModule
from funneltune.data.features import FeatureColumns
from funneltune.data.leaks import Guard, Leak, find_leaks, text_columns
from funneltune.data.next_labels import add_next_labels
from funneltune.data.sources import Source
from funneltune.data.splits import Split
from funneltune.data.store import DELAY, LogStore
from funneltune.data.write import prepare
from funneltune.errors import ConfigError, FunnelError
from funneltune.funnel import Task, TaskFunnel
from funneltune.schema import FeatureNeeds

T = TypeVar("T")
FEW = 5
"""Shoppers, fewer than whom a query may point to."""
NOT_FOR_PEOPLE = ("categories", "numeric")
"""Notes of a store that only programs read."""


@dataclass(frozen=True)
class Checked:
    """What `validate` found: counts of rows and entities, and what the source dropped, filled or changed."""

    counts: Mapping[str, int]
    notes: Mapping[str, Any]
    leaks: Sequence[Leak] = ()
    """What a run would warn of."""
    never: Sequence[str] = ()
    """Events that no row of the log has."""

    def in_words(self) -> str:
        """Lines for people."""
        counts = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        lines = [f"the log can be used: {counts}"]
        for note, content in self.notes.items():
            if isinstance(content, Mapping) and set(content) == {"rows", "strict"}:
                deed = {"drop": "dropped", "keep": "kept, the label set to 0"}[content["strict"]]
                lines.append(f"  {note}: {content['rows']:,} row(s), {deed}")
            elif isinstance(content, Mapping):
                spelt = ", ".join(f"{k}: {v:,}" if isinstance(v, int) else f"{k}: {v}" for k, v in content.items())
                lines.append(f"  {note}: {spelt}")
        if self.counts.get("items") == 1:
            lines.append("  one item only: name data.source.item if rows are about items")
        if self.never:
            lines.append(
                f"  warning: no row has {' or '.join(self.never)}, and what never happens is not learned; check "
                f"data.source.labels, or take {'it' if len(self.never) == 1 else 'them'} out of data.tasks"
            )
        lines += [f"  warning, leak ({leak.kind}): {leak.message}" for leak in self.leaks]
        return "\n".join(lines)


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
            **_lateness(store, task, labels[task.name]),
        }
    sizes = store.request_lengths
    return {
        "impressions": store.n_rows,
        "requests": store.n_requests,
        "rows per request": {"least": int(sizes.min()), "mean": float(sizes.mean()), "most": int(sizes.max())},
        "queries": store.table("queries").num_rows,
        "items": store.table("items").num_rows,
        "users": store.table("users").num_rows,
        **_rarely_asked(store),
        "rates": rates,
        "splits": {
            name: {"requests": len(data.requests(name)), "rows": data.n_rows(name)}
            for name in ("train", "validation", "test")
        },
        "oracle": any(name.startswith("oracle_p_") for name in store.table("impressions").column_names),
        "notes": {k: v for k, v in store.manifest["notes"].items() if k not in NOT_FOR_PEOPLE},
        "fingerprint": store.fingerprint,
    }


def _rarely_asked(store: LogStore) -> dict[str, int]:
    """How many queries so few shoppers asked that their words may tell who they are."""
    users, queries = (store.table(table).num_rows for table in ("users", "queries"))
    if users < 2 or queries < 2:
        return {}
    pairs = np.unique(store.of_requests("query").astype(np.int64) * users + store.of_requests("user"))
    asking = np.bincount(pairs // users, minlength=queries)
    return {f"queries of fewer than {FEW} shoppers": int(((asking > 0) & (asking < FEW)).sum())}


def _lateness(store: LogStore, task: Task, label: NDArray[Any]) -> dict[str, Any]:
    """A task's window, and how late its events come, in days."""
    found: dict[str, Any] = {} if task.window is None else {"window": task.window}
    if store.has(f"{DELAY}{task.name}") and label.any():
        delay = store.column(f"{DELAY}{task.name}")[label == 1]
        found["delay"] = {"mean": float(delay.mean()), "quartiles": np.quantile(delay, (0.25, 0.5, 0.75)).tolist()}
    return found


def _spread(task: Task, label: NDArray[Any]) -> dict[str, Any]:
    """How a label that is not binary is distributed."""
    if task.has_levels:
        counts = np.bincount(label, minlength=len(task.levels))
        return {"rows": len(label), "levels": dict(zip(task.levels, counts.tolist(), strict=True))}
    quartiles = np.quantile(label, (0.25, 0.5, 0.75)).tolist() if len(label) else []
    return {"rows": len(label), "mean": float(label.mean()) if len(label) else None, "quartiles": quartiles}


def validate(
    source: Source,
    tasks: TaskFunnel,
    split: Split | None = None,
    texts: Mapping[str, str] | None = None,
    needs: FeatureNeeds | None = None,
    guard: Guard | None = None,
    read: tuple[Mapping[str, str], FeatureNeeds] | None = None,
    beside: Path = Path("cache"),
) -> Checked:
    """Read a whole log as a run would, into a folder that is thrown away; then cut it, look up texts and features, and
    look for leaks among those that the run reads (`read`; None: all). Rows that are left out are listed in `beside`.

    Raises:
        DataError: with every fault found in the log, or every leak that the guard refuses.
        ConfigError: with every fault found in what is to be made of it.
    """
    with tempfile.TemporaryDirectory(prefix="funneltune-") as folder:
        store = prepare(source, tasks, Path(folder), beside)
        faults: list[str] = []
        cut = _told(partial(split.cut, store), faults) if split is not None else None
        if tasks.following and cut is not None:
            _told(partial(add_next_labels, store, tasks, cut), faults)
        for side, template in (texts or {}).items():
            _told(partial(store.text, "queries" if side == "query" else "items", template), faults)
        columns = _columns(store, needs, faults)
        if read is not None:
            texts, columns = read[0], _columns(store, read[1], faults)
        if faults:
            raise ConfigError("; ".join(dict.fromkeys(faults)) + ".")
        leaks: list[Leak] = []
        guard = guard or Guard.parse(None)
        if split is not None and cut is not None:
            leaks = find_leaks(store, cut, texts or {}, columns, tasks, split, text_columns(source), guard.words)
            guard.refuse(leaks)
        notes = {k: v for k, v in store.manifest["notes"].items() if k not in NOT_FOR_PEOPLE}
        never = [task.name for task in store.funnel.tasks if task.binary and not store.column(task.name).any()]
        return Checked(dict(store.manifest["counts"]), notes, guard.warned(leaks), never)


def _columns(store: LogStore, needs: FeatureNeeds | None, faults: list[str]) -> FeatureColumns | None:
    return _told(lambda: FeatureColumns(store, needs, np.ones(store.n_rows, bool)), faults) if needs else None


def _told(ask: Callable[[], T], faults: list[str]) -> T | None:
    """What is asked for, or None and one more fault."""
    try:
        return ask()
    except FunnelError as fault:
        faults.append(str(fault).rstrip("."))
        return None
