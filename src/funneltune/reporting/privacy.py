"""What runs promise about single impressions or shoppers, in words and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from funneltune.records import RecordFolder
from funneltune.reporting.sections import Section

NONE = "no privacy guarantee"


def privacy_in_words(found: Mapping[str, Any]) -> str:
    """`epsilon 2.99 at delta 2.4e-06 for each shopper`, or that there is no guarantee, and why where that is told.

    >>> privacy_in_words({"guarantee": "none"})
    'no privacy guarantee'
    """
    if "epsilon" in found:
        return f"epsilon {found['epsilon']:.2f} at delta {found['delta']:.1e} for each {found['unit']}"
    return f"{NONE} ({found['reason']})" if "reason" in found else NONE


def privacy_section(records: RecordFolder, names: Mapping[str, str]) -> Section | None:
    """A row per cell, the weakest promise of its runs; None where no run promises anything."""
    finished = [(cell, run.record.privacy) for cell, runs in records.cells.items() for run in runs if _done(run.record)]
    if not any("epsilon" in found for _, found in finished):
        return None
    rows = []
    for cell in dict.fromkeys(cell for cell, _ in finished):
        mine = [found for name, found in finished if name == cell]
        weakest = max(mine, key=lambda found: float(found.get("epsilon", float("inf"))))
        rows.append((names.get(cell, cell), *_row(weakest)))
    notes = dict.fromkeys(note for _, found in finished for note in found.get("not_covered", ()))
    return Section(
        "Privacy",
        ("", "epsilon", "delta", "for each", "noise", "clip", "sampling rate", "steps"),
        tuple(rows),
        tuple(f"not covered: {note}" for note in notes),
    )


def _done(record: Any) -> bool:
    return bool(record.status == "finished")


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    if "epsilon" not in found:
        return ("none", *["-"] * 6)
    return (
        f"{found['epsilon']:.2f}",
        f"{found['delta']:.1e}",
        str(found["unit"]),
        f"{found['noise_multiplier']:.2f}",
        f"{found['clip']:g}",
        f"{found['sample_rate']:.4f}",
        f"{found['steps']:,}",
    )
