"""What calls give back: a run, and the records below a folder, as tables."""

from __future__ import annotations

import difflib
import functools
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pandas as pd
from matplotlib.figure import Figure

from funneltune.errors import ConfigError, Interrupted, RunError
from funneltune.files import read_parquet
from funneltune.metrics import Comparison
from funneltune.records import HISTORY_NAME, RECORD_NAME, RecordFolder, RunRecord, number
from funneltune.reporting import compare
from funneltune.reporting.answer import answer
from funneltune.reporting.columns import Column
from funneltune.reporting.figures import groups
from funneltune.reporting.findings import Findings
from funneltune.reporting.table import Row

P = ParamSpec("P")
T = TypeVar("T")
PLACE = ("cell", "seed", "status")
"""Columns of `Records.runs` that say which run it is."""


def told(function: Callable[P, T]) -> Callable[P, T]:
    """A user's mistake as a `FunnelError` whoever wrapped it, an interrupt as the `KeyboardInterrupt` that it was."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Interrupted as stop:
            if stop.signum == signal.SIGINT:
                raise KeyboardInterrupt(str(stop)) from None
            raise
        except Exception as error:
            from funneltune.experiments import user_fault

            mendable = user_fault(error)
            if mendable is None or mendable is error:
                raise
            raise mendable from None

    return call


@dataclass(frozen=True)
class Run:
    """A trained run's folder.

    Raises:
        RunError: if the folder holds no run.
    """

    folder: Path

    def __post_init__(self) -> None:
        """Refuse a folder that no run has written."""
        object.__setattr__(self, "folder", Path(self.folder))
        if not (self.folder / RECORD_NAME).is_file():
            raise RunError(f"run={self.folder} holds no {RECORD_NAME}; name the folder that train wrote.")

    @property
    def record(self) -> RunRecord:
        """What the run left behind: config, metrics, cost, versions."""
        return RunRecord.read(self.folder / RECORD_NAME)

    def metrics(self, split: str = "test") -> pd.DataFrame:
        """A row per metric of a split: its value, and the protocol that it was measured by."""
        return metrics_table(self.record.metrics.get(split, {}))

    def predictions(self) -> pd.DataFrame:
        """The test rows with their labels and probabilities.

        Raises:
            RunError: if the run was not tested.
        """
        return self._table("predictions.parquet", "it was not tested, or not by this release")

    def history(self, name: str | None = None) -> pd.DataFrame:
        """What was logged while training: `step`, `name`, `value`; of one name where it is given.

        Raises:
            RunError: if the run kept no history.
            ConfigError: if it logged nothing of that name.
        """
        found = self._table(HISTORY_NAME, "it was trained without callbacks.history")
        if name is None:
            return found
        if name not in set(found.name):
            near = [f"; nearest: {one}" for one in difflib.get_close_matches(name, set(found.name), n=1)]
            raise ConfigError(f"name={name!r} was not logged{''.join(near)}; history().name.unique() lists what was.")
        return found[found.name == name].reset_index(drop=True)

    def _table(self, file: str, why: str) -> pd.DataFrame:
        path = self.folder / file
        if not path.is_file():
            raise RunError(f"run={self.folder} has no {file}: {why}.")
        frame: pd.DataFrame = read_parquet(path).to_pandas()
        return frame


@dataclass(frozen=True, repr=False)
class Records:
    """The records below a folder (a study, its evidence, some runs, one run) as tables."""

    folder: RecordFolder

    def __repr__(self) -> str:
        path = self.folder.path
        here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        return f"Records({str(here)!r}: {len(self.folder.runs)} run(s) of {len(self.folder.cells)} cell(s))"

    def runs(self, split: str = "test") -> pd.DataFrame:
        """A row per run: cell, seed, status, every metric of a split, and what it cost (`cost.`, `parameters.`)."""
        return pd.DataFrame([_flat(run.cell, run.record, split) for runs in self.folder.cells.values() for run in runs])

    def table(self) -> pd.DataFrame:
        """A row per cell, baseline and ceiling; each column's mean over seeds, and its standard deviation."""
        found = self._findings.table
        heads = [(column.title, part) for column in found.columns for part in ("mean", "sd")]
        rows = [[part for column in found.columns for part in _pair(row, column)] for row in found.rows]
        names = pd.Index([row.name for row in found.rows], name=found.title)
        made = pd.DataFrame(rows, names, pd.MultiIndex.from_tuples(heads), dtype=float)
        return made.dropna(axis="columns", how="all")

    @told
    def comparisons(self, baseline: str | None = None, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """A row per pair and metric: difference, interval, Holm's p, verdict. Without arguments the study's own pairs
        and metrics (of a single run: against its baselines).

        Raises:
            ConfigError: if the baseline is no cell, and no run was scored beside it.
        """
        asked = baseline is not None or metrics is not None
        found = compare(self.folder, baseline, metrics) if asked else self._findings.comparisons
        return pd.DataFrame([one.to_json() for one in found], columns=list(Comparison.__dataclass_fields__))

    def answer(self) -> str:
        """What came out, in a paragraph."""
        return " ".join(answer(self._findings))

    def figures(self) -> dict[str, Figure]:
        """Every figure of the report by its name: quality against cost, seeds, differences, curves, ranks, ..."""
        return {one.name: one.figure for group in groups(self._findings) for one in group.drawings}

    @functools.cached_property
    @told
    def _findings(self) -> Findings:
        return Findings.of(self.folder)


def _pair(row: Row, column: Column) -> tuple[float | None, float | None]:
    """Mean and standard deviation, in the unit that the column's title names."""
    figure = row.figures.get(column.key)
    if figure is None:
        return None, None
    unit = 1e6 if column.style == "megabytes" else 1.0
    return figure.mean / unit, None if figure.spread is None else figure.spread / unit


def metrics_table(measured: Mapping[str, Any]) -> pd.DataFrame:
    """A row per metric: `value`, and what its protocol says (rows, n, positives, averaging, ...)."""
    rows = [{"value": number(entry), **(entry.get("protocol") or {})} for entry in measured.values()]
    return pd.DataFrame(rows, pd.Index(list(measured), name="metric"))


def _flat(cell: str, record: RunRecord, split: str) -> dict[str, Any]:
    """A run on one line."""
    place = dict(zip(PLACE, (cell, record.seed, record.status), strict=True))
    metrics = {key: number(entry) for key, entry in record.metrics.get(split, {}).items()}
    cost = {f"cost.{key}": value for key, value in record.cost.items() if not isinstance(value, dict)}
    return place | metrics | {f"parameters.{key}": value for key, value in record.parameters.items()} | cost


def trials_table(content: dict[str, Any]) -> pd.DataFrame:
    """A search's trials as a table."""
    objectives = [objective["key"] for objective in content["objectives"]]
    rows = [
        {
            "number": trial["number"],
            **trial["params"],
            **dict(zip(objectives, trial["values"] or [None] * len(objectives), strict=True)),
            "status": trial["status"],
            "error": trial["error"],
            "best": trial["number"] in content["best"],
            "command": content["commands"].get(str(trial["number"])),
        }
        for trial in content["trials"]
    ]
    return pd.DataFrame(rows).set_index("number")
