"""A study's folder: study.json says what its cells are and how each stands; it is written whole after every change.

Cells may run in several processes (joblib, SLURM), and each updates its own entry: read, change, write under a lock.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from funneltune.errors import RunError
from funneltune.experiments.plan import Cell, Study
from funneltune.files import locked, write_text
from funneltune.records import (
    RECORD_NAME,
    SCHEMA_VERSION,
    STUDY_NAME,
    RunRecord,
    is_study,
    read_json,
    read_study,
    write_json,
)
from funneltune.secrets import redacted

logger = logging.getLogger("funneltune")


@dataclass(frozen=True)
class StudyState:
    """The folder of a study and what lies in it."""

    folder: Path

    @property
    def path(self) -> Path:
        """study.json."""
        return self.folder / STUDY_NAME

    def read(self) -> dict[str, Any]:
        """study.json's content; empty before the first call."""
        return read_study(self.path) if self.path.is_file() else {}

    def plan(self, study: Study, config: Mapping[str, Any], cells: Sequence[Cell], trials: Sequence[Cell] = ()) -> None:
        """Write the study, its composed config (study.yaml) and one entry per run; what finished stays finished."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "study.yaml", yaml.safe_dump(dict(config), sort_keys=False))
        content = {
            "schema_version": SCHEMA_VERSION,
            "command": redacted(shlex.join(["funneltune", *sys.argv[1:]])),
            "study": study.to_json(),
            "trials": [self._entry(trial) for trial in trials],
            "runs": [self._entry(cell) for cell in cells],
            "comparisons": [],
        }
        self._drop_if_broken()
        self._change(lambda _: content)

    def _entry(self, cell: Cell) -> dict[str, Any]:
        record = self.record_of(cell)
        status = "finished" if record is not None and record.status == "finished" else "planned"
        return {
            "cell": cell.name,
            "seed": cell.seed,
            **({} if cell.fold is None else {"fold": cell.fold}),
            **({} if cell.trial is None else {"trial": cell.trial}),
            "folder": cell.folder,
            "overrides": list(cell.overrides),
            "status": status,
            "record": f"{cell.folder}/{RECORD_NAME}" if status == "finished" else None,
            "error": None,
        }

    def tell(self, **facts: Any) -> None:
        """Write down what the study has decided: sizes that match, rates that were chosen."""
        self._change(lambda content: content | facts)

    def settle(self, cells: Sequence[Cell]) -> None:
        """Give the runs the overrides that the study has decided on."""
        overrides = {cell.folder: list(cell.overrides) for cell in cells}

        def change(content: dict[str, Any]) -> dict[str, Any]:
            for run in content["runs"]:
                run["overrides"] = overrides.get(run["folder"], run["overrides"])
            return content

        self._change(change)

    def _drop_if_broken(self) -> None:
        """Remove a study.json that cannot be read, and say so: the records of its cells tell as much."""
        with suppress(RunError):
            if not self.path.is_file() or is_study(read_json(self.path)):
                return
        logger.warning("%s cannot be read; it is written anew from the records of its cells.", self.path)
        self.path.unlink()

    def record_of(self, cell: Cell) -> RunRecord | None:
        """The record of a cell, if it has been run."""
        path = self.folder / cell.folder / RECORD_NAME
        return RunRecord.read(path) if path.is_file() else None

    def may_go_on(self, cell: Cell) -> bool:
        """Whether a cell was interrupted and left a checkpoint."""
        return any((self.folder / cell.folder).glob("checkpoints/step-*.ckpt"))

    def mark(self, folder: str, status: str, error: str | None = None, again: bool = False) -> dict[str, Any]:
        """Set how the run in `folder` (below the study's) stands, and return the whole state.

        Args:
            folder: The run's.
            status: How it stands.
            error: Why it failed.
            again: Whether it may be begun again: its config is not at fault.
        """

        def change(content: dict[str, Any]) -> dict[str, Any]:
            for run in (*content["trials"], *content["runs"]):
                if run["folder"] == folder:
                    there = (self.folder / folder / RECORD_NAME).is_file()
                    run |= {"status": status, "error": error, "record": f"{folder}/{RECORD_NAME}" if there else None}
                    if again:
                        run["again"] = True
                    elif run.pop("again", False):
                        run["attempts"] = run.get("attempts", 1) + 1
            return content

        return self._change(change)

    def may_be_retried(self, cell: Cell) -> bool:
        """Whether a cell has failed by no fault of its config."""
        content = self.read()
        return any(run["folder"] == cell.folder and run.get("again") for run in (*content["trials"], *content["runs"]))

    def _change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        with locked(self.folder):
            content = change(self.read())
            write_json(self.path, content)
        return content

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """Refuse a second process that would run the same study at the same time.

        Raises:
            RunError: if there is one.
        """
        cells = self.folder / "cells"
        cells.mkdir(parents=True, exist_ok=True)
        with locked(cells, refuse=f"study_dir={self.folder} is being run by another process; wait for it or stop it."):
            yield
