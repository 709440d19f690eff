"""On which terms a study's cells meet: sizes that were matched, learning rates that were tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from funneltune.records import RecordFolder
from funneltune.reporting.sections import Section


def terms_section(records: RecordFolder, names: Mapping[str, str]) -> Section | None:
    """What study.json says under `matched` and `tuned`, a row per cell; None where a study did neither."""
    content = records.study or {}
    matched, tuned = content.get("matched") or {}, content.get("tuned") or {}
    if not (matched or tuned):
        return None
    headings = ["", *(["weights tuned", "size"] if matched else []), *(["rate", "chosen", "tried"] if tuned else [])]
    rows = []
    for cell in dict.fromkeys([*matched, *tuned]):
        row = [names.get(cell, cell)]
        if matched:
            row += _sizes(matched.get(cell))
        if tuned:
            row += _rates(tuned.get(cell) or {})
        rows.append(tuple(row))
    return Section("On which terms", tuple(headings), tuple(rows), tuple(_notes(content)))


def _sizes(one: Mapping[str, Any] | None) -> list[str]:
    if not one:
        return ["-", "as it is"]
    sizes = ", ".join(f"{key.rpartition('.')[2]} {value:g}" for key, value in one["sizes"].items())
    return [f"{one['trained']:,}", sizes]


def _rates(choice: Mapping[str, Any]) -> list[str]:
    if not choice:
        return ["-", "-", "-"]
    tried = ", ".join(
        f"{one['value']:g}: {'failed' if one['score'] is None else format(one['score'], '.4f')}"
        for one in choice["tried"]
    )
    chosen = "none" if choice["chosen"] is None else f"{choice['chosen']:g}"
    return [choice["key"], chosen + (" (edge)" if choice.get("at_edge") else ""), tried]


def _notes(content: Mapping[str, Any]) -> list[str]:
    notes = []
    if content.get("matched"):
        notes.append(
            "weights tuned: of the backbone at the end of training, LayerNorms and head apart; AdaLoRA's by its mean "
            "final rank, what it keeps may weigh more or less"
        )
    tune = (content.get("study") or {}).get("tune")
    if content.get("tuned") and tune:
        more = f" with {', '.join(tune['overrides'])}" if tune.get("overrides") else ""
        runs = f"mean of {tune['seeds']} seeds" if tune.get("seeds", 1) > 1 else "one run"
        notes.append(f"tried: {tune['metric']}, {runs} each{more}; the test split was left alone")
        if any(choice.get("at_edge") for choice in content["tuned"].values()):
            notes.append("edge: the best was the smallest or the largest that was tried; one beyond might be better")
    return notes
