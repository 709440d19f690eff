"""What an export says of itself: `decision.json` in its folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from funneltune.records import write_json

NAME = "decision.json"


@dataclass(frozen=True)
class ExportRecord:
    """What was asked, what was measured.

    Args:
        run: The run's folder.
        settings: What was asked for.
        numbers: Name -> value, low, high, protocol.
        tables: Name -> columns, rows.
        notes: What a reader must know, in sentences.
        verb: Whose record it is.
    """

    run: str
    settings: dict[str, Any]
    numbers: dict[str, dict[str, Any]]
    tables: dict[str, dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    verb: str = "export"

    def write(self, folder: Path) -> Path:
        """Into a folder."""
        return write_json(folder / NAME, asdict(self))
