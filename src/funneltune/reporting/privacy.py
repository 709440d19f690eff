"""What runs promise about single impressions or shoppers, in words and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from funneltune.errors import RunError
from funneltune.records import RecordFolder, number
from funneltune.reporting.sections import Section

NONE = "no privacy guarantee"


def privacy_in_words(found: Mapping[str, Any]) -> str:
    """`epsilon 2.99 at delta 2.4e-06 for each shopper`, or that there is no guarantee, and why where that is told.

    >>> privacy_in_words({"guarantee": "none"})
    'no privacy guarantee'
    """
    if "epsilon" in found:
        epsilon, delta = _numbers(found, "epsilon", "delta")
        return f"epsilon {epsilon:.2f} at delta {delta:.1e} for each {found.get('unit')}"
    return f"{NONE} ({found['reason']})" if "reason" in found else NONE


def privacy_section(records: RecordFolder, names: Mapping[str, str]) -> Section | None:
    """A row per cell, the weakest promise of its runs; None where no run promises anything."""
    finished = [(cell, run.record.privacy) for cell, runs in records.cells.items() for run in runs if _done(run.record)]
    if not any("epsilon" in found for _, found in finished):
        return None
    rows = []
    for cell in dict.fromkeys(cell for cell, _ in finished):
        mine = [found for name, found in finished if name == cell]
        weakest = max(mine, key=lambda found: _numbers(found, "epsilon")[0] if "epsilon" in found else math.inf)
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
    names = ("epsilon", "delta", "noise_multiplier", "clip", "sample_rate", "steps")
    epsilon, delta, noise, clip, rate, steps = _numbers(found, *names)
    told = (f"{noise:.2f}", f"{clip:g}", f"{rate:.4f}", f"{steps:,.0f}")
    return (f"{epsilon:.2f}", f"{delta:.1e}", str(found.get("unit")), *told)


def _numbers(found: Mapping[str, Any], *names: str) -> list[float]:
    """Of a promise.

    Raises:
        RunError: if one is none, which makes the promise nobody's.
    """
    values = [number(found.get(name)) for name in names]
    for name, value in zip(names, values, strict=True):
        if value is None:
            raise RunError(
                f"a record's privacy.{name}={found.get(name)!r} must be a number; restore the record from a copy, or "
                "leave it out."
            )
    return [value for value in values if value is not None]
