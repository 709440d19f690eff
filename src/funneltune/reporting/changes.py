"""What each cell was: its config as changes of the reference cell's, and the whole of that one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from funneltune.records import as_json
from funneltune.reporting.findings import Findings
from funneltune.reporting.sections import Section

NO_PART = ("name", "seed", "run_dir", "resume", "resume_changes", "logger", "study", "search", "data.cache_dir")
"""Keys of a config that say where and how often, not what."""
QUIET = ("trainer.enable_progress_bar", "callbacks.progress")
TARGET = "_target_"
LONGEST = 160


def changes_section(findings: Findings) -> Section | None:
    """A row per cell: what its config has that the reference's has not, or has otherwise. None where none differs.

    Keys that another choice of a group brings with it are told; those that it does without are not.
    """
    cells = findings.cells()
    reference = findings.reference
    if len(cells) < 2 or reference not in cells:
        return None
    flat = {cell: flat_config(findings.runs(cell)[0].record.config) for cell in cells}
    own = flat[reference]
    rows = []
    for cell in cells:
        changed = [key for key, value in flat[cell].items() if own.get(key) != value]
        told = [
            f"{key}={flat[cell][key]}" + (f" (there {own[key]})" if key in own else "")
            for key in sorted(changed, key=lambda key: (not key.endswith(TARGET), key))
        ]
        rows.append((findings.name(cell), "the reference" if cell == reference else ", ".join(told) or "nothing"))
    if all(flat[cell] == own for cell in cells):
        return None
    return Section(
        "What each cell was",
        ("", f"how its config differs from that of {findings.name(reference)}"),
        tuple(rows),
        ("of each cell's first run; seeds and folds differ in nothing else",),
    )


def flat_config(config: Mapping[str, Any]) -> dict[str, str]:
    """Dotted key -> value as text, without what says where and how a run ran."""
    found: dict[str, str] = {}
    _flatten(found, as_json(config), "")
    skipped = (*NO_PART, *QUIET)
    return {
        key: value
        for key, value in found.items()
        if not any(key == one or key.startswith(f"{one}.") for one in skipped)
    }


def _flatten(found: dict[str, str], value: Any, prefix: str) -> None:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            _flatten(found, item, f"{prefix}.{key}" if prefix else str(key))
        return
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    found[prefix] = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
