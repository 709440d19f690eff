"""What was decided with a run, as parts of its page: every `decision.json` below a folder, with its pictures inline."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from funneltune.errors import RunError
from funneltune.records import DECISION_NAME, DecisionRecord

MOST = 50
"""Rows of a table that the page shows; the record has them all."""
NUMBER_HEADINGS = ("number", "value", "95% interval", "protocol")
TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def decisions_below(folder: Path) -> list[dict[str, Any]]:
    """Each decision below a folder as the page shows it, in the order of their paths.

    Raises:
        RunError: if one cannot be read, or a picture that it names is not beside it.
    """
    return [_view(folder, path, DecisionRecord.read(path)) for path in sorted(folder.rglob(DECISION_NAME))]


def _view(root: Path, path: Path, record: DecisionRecord) -> dict[str, Any]:
    odd = [name for name, entry in record.numbers.items() if not isinstance(entry, Mapping)]
    odd += [name for name, table in record.tables.items() if not _is_table(table)]
    if odd:
        raise RunError(f"{path}: {odd[0]!r} is neither a number nor a table of a decision; make the decision again.")
    where = path.parent.relative_to(root).as_posix()
    named = "" if where in (".", record.verb) else f", {where}"
    return {
        "id": f"decision-{record.verb}-{where}".replace("/", "-").replace(".", "").rstrip("-"),
        "title": f"Decision: {record.verb}{named}",
        "about": f"Made with {record.run or 'no run'} by funneltune {record.verb}.",
        "notes": record.notes,
        "pictures": [_picture(path.parent, name) for name in record.figures],
        "numbers": [_number(name, entry) for name, entry in record.numbers.items()],
        "tables": [_table(name, table) for name, table in record.tables.items()],
        "settings": [(name, _text(value)) for name, value in record.settings.items()],
    }


def _is_table(table: Any) -> bool:
    parts = [table.get(part) for part in ("columns", "rows")] if isinstance(table, Mapping) else [None]
    return all(isinstance(part, list) for part in parts) and all(isinstance(row, list) for row in table["rows"])


def _picture(folder: Path, name: str) -> dict[str, str]:
    path = folder / str(name)
    if path.name != name or path.suffix not in TYPES:
        raise RunError(f"{folder / DECISION_NAME}: figures={name!r} must be a .png or .svg file beside the record.")
    try:
        content = path.read_bytes()
    except OSError:
        raise RunError(f"{path} is missing; its decision names it as a picture: make the decision again.") from None
    return {"name": path.stem, "source": f"data:{TYPES[path.suffix]};base64,{base64.b64encode(content).decode()}"}


def _number(name: str, entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    low, high = entry.get("low"), entry.get("high")
    interval = "" if low is None or high is None else f"{_text(low)} to {_text(high)}"
    return name.replace("_", " "), _text(entry.get("value")), interval, str(entry.get("protocol", ""))


def _table(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    rows = list(table["rows"])
    cut = [f"the first {MOST} of {len(rows):,} rows; {DECISION_NAME} has them all"] if len(rows) > MOST else []
    return {
        "title": name.replace("_", " ").capitalize(),
        "headings": [str(column).replace("_", " ") for column in table["columns"]],
        "rows": [[_text(value) for value in row] for row in rows[:MOST]],
        "notes": cut,
    }


def _text(value: Any) -> str:
    """A value of a record as one reads it.

    >>> [_text(value) for value in (0.123456, 1234567, 20500.25, None, ["a", 2], True)]
    ['0.1235', '1,234,567', '20,500', '-', 'a, 2', 'yes']
    """
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(item)}" for name, item in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value)) or "-"
    return str(value)
