"""What runs that stand in one table do not share and should: the code, the packages, the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from funneltune.records import RecordFolder, RunRecord, as_json

HOW_IT_IS_READ = frozenset(
    {
        *("split", "slices", "train_share", "rows_per_batch", "eval_rows_per_batch", "tokens_per_batch"),
        *("max_tokens", "workers", "worker_timeout", "unique", "cache_dir", "texts", "observed_until", "sampling"),
    }
)
"""Parts of a data config that leave the log itself as it is."""
NO_PACKAGE = frozenset({"threads"})


def provenance(records: RecordFolder, names: Mapping[str, str]) -> list[str]:
    """One line for each thing in which a study's finished runs differ: commits, package versions, data of one config.

    Args:
        records: The runs.
        names: Display names of cells.
    """
    runs = [
        (names.get(cell, cell), run.record)
        for cell, held in records.cells.items()
        for run in held
        if run.record.status == "finished"
    ]
    lines = []
    commits = _by(runs, lambda record: _short(record.git_commit))
    if len(commits) > 1:
        lines.append(f"runs come from different commits: {_said(commits)}")
    packages = sorted({name for _, record in runs for name in record.versions} - NO_PACKAGE)
    differing = [(name, _by(runs, lambda record, name=name: record.versions.get(name, "none"))) for name in packages]
    said = [f"{name} {_said(found)}" for name, found in differing if len(found) > 1]
    if said:
        lines.append(f"runs used different package versions: {'; '.join(said)}")
    logs = dict.fromkeys(log_config(record) for _, record in runs)
    for log in logs:
        mine = [(cell, record) for cell, record in runs if log_config(record) == log]
        found = _by(mine, lambda record: str(record.data.get("fingerprint"))[:12])
        if len(found) > 1:
            lines.append(f"the log changed between runs of one data config: fingerprint {_said(found)}")
    return lines


def log_changed(one: RunRecord, other: RunRecord) -> bool:
    """Whether two runs of the same data config had different data."""
    prints = (one.data.get("fingerprint"), other.data.get("fingerprint"))
    return prints[0] != prints[1] and log_config(one) == log_config(other)


def log_config(record: RunRecord) -> str:
    """What a config says of the log itself, as text."""
    data = record.config.get("data")
    kept = {key: value for key, value in data.items() if key not in HOW_IT_IS_READ} if isinstance(data, Mapping) else {}
    return json.dumps(as_json(kept), sort_keys=True)


def _by(runs: Sequence[tuple[str, RunRecord]], key: Callable[..., Any]) -> dict[str, list[str]]:
    """Cells by value, each once."""
    found: dict[str, list[str]] = {}
    for cell, record in runs:
        cells = found.setdefault(str(key(record)), [])
        if cell not in cells:
            cells.append(cell)
    return found


def _said(found: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{value} ({', '.join(cells)})" for value, cells in found.items())


def _short(commit: str | None) -> str:
    """Twelve digits of a commit, and that it had changes."""
    if not commit:
        return "no commit"
    plain, plus, changes = commit.partition("+")
    return plain[:12] + plus + changes


def data_rows(records: RecordFolder, names: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """A row for each different log: the cells that read it, rows and requests of each split, and its fingerprint."""
    found: dict[str, tuple[RunRecord, list[str]]] = {}
    for cell, held in records.cells.items():
        for run in held:
            data = run.record.data
            key = json.dumps(as_json(data), sort_keys=True)
            cells = found.setdefault(key, (run.record, []))[1]
            if names.get(cell, cell) not in cells:
                cells.append(names.get(cell, cell))
    logs = [one for one in found.values() if one[0].data]
    splits = list(dict.fromkeys(split for record, _ in logs for split in record.data.get("rows") or {}))
    headings = ["", *(f"{split} {what}" for split in splits for what in ("rows", "requests")), "fingerprint"]
    rows = []
    for record, cells in logs:
        counts = [
            f"{count:,}" if (count := (record.data.get(what) or {}).get(split)) is not None else "-"
            for split in splits
            for what in ("rows", "requests")
        ]
        who = "all cells" if len(logs) == 1 else ", ".join(cells)
        rows.append([who, *counts, str(record.data.get("fingerprint", "-"))[:16]])
    return headings, rows
