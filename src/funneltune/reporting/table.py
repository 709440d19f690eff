"""Records as rows: one per cell with the spread over its seeds, the baselines, and the oracle as the ceiling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from funneltune.records import RecordFolder, StoredRun, number
from funneltune.reporting.columns import Column, columns_of
from funneltune.reporting.comparisons import named_metrics
from funneltune.reporting.provenance import provenance

DEFAULT_METRIC = "ctcvr/auc"
"""What a study is about unless it says otherwise; a log without purchases has none, and the first column stands in."""
Kind = Literal["cell", "baseline", "ceiling"]


@dataclass(frozen=True)
class Figure:
    """A number over a cell's seeds."""

    mean: float
    spread: float | None
    """Standard deviation over seeds; None where there is one."""
    count: int = 1

    @property
    def reach(self) -> float | None:
        """Half the 95% interval of the mean over seeds (t); what other requests would have given is not in it."""
        if self.spread is None or self.count < 2:
            return None
        return float(special.stdtrit(self.count - 1, 0.975) * self.spread / self.count**0.5)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    kind: Kind
    name: str
    figures: Mapping[str, Figure]
    """By column key; absent where there is no number."""
    finished: int
    planned: int
    """Seeds that were meant to be there; 0 for baselines and the ceiling."""

    @property
    def runs(self) -> str:
        """`5`, or `4 of 5` where some did not finish."""
        if not self.planned:
            return ""
        return str(self.finished) if self.finished == self.planned else f"{self.finished} of {self.planned}"

    @property
    def label(self) -> str:
        """The name, and how many runs count where that is not all of them."""
        return self.name if self.finished == self.planned else f"{self.name} ({self.runs})"


@dataclass(frozen=True)
class Table:
    """Rows and columns, and what each quality column was measured on."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    protocols: Mapping[str, Mapping[str, Any]]
    """By column key, of the first run that has it."""
    names: Mapping[str, str]
    """Display names of cells."""
    warnings: tuple[str, ...] = ()
    """What the runs do not share and should: code, packages, the log."""

    @property
    def has_spread(self) -> bool:
        """Whether any score comes with a spread over seeds."""
        scores = {column.key for column in self.group("quality")}
        return any(
            figure.spread is not None for row in self.rows for key, figure in row.figures.items() if key in scores
        )

    def group(self, name: str) -> tuple[Column, ...]:
        """The columns of one part of the table."""
        return tuple(column for column in self.columns if column.group == name)


def table(records: RecordFolder) -> Table:
    """The table of any folder of records: quality and cost of each cell, mean and standard deviation over seeds.

    A study's own metrics have a column each, whatever they are.

    Only finished runs give numbers. A baseline or the oracle, which runs on the same test rows share, is averaged over
    the runs that measured it; a spread there says that the test rows differed.
    """
    finished = [run for run in records.runs if run.record.status == "finished"]
    columns = columns_of((run.record for run in finished), named_metrics(records))
    planned = _planned(records)
    names = display_names(records)
    rows = [
        Row("cell", names[cell], _figures(columns, runs), _count(runs), planned[cell])
        for cell, runs in records.cells.items()
    ]
    rows += [Row("cell", names[cell], {}, 0, count) for cell, count in planned.items() if cell not in records.cells]
    for name in dict.fromkeys(name for run in finished for name in run.record.baselines):
        measured = [run.record.baselines[name] for run in finished if name in run.record.baselines]
        rows.append(Row("baseline", name, _shared(columns, measured), 0, 0))
    oracles = [run.record.oracle for run in finished if run.record.oracle]
    if oracles:
        rows.append(Row("ceiling", "oracle (ceiling)", _shared(columns, oracles), 0, 0))
    protocols: dict[str, Mapping[str, Any]] = {}
    for column in columns:
        entries = (run.record.metrics.get("test", {}).get(column.key) for run in finished)
        protocols[column.key] = next((e.get("protocol", {}) for e in entries if isinstance(e, Mapping)), {})
    return Table(
        title_of(records), columns, tuple(rows), protocols, names, (*unmeasured(records), *provenance(records, names))
    )


def unmeasured(records: RecordFolder) -> list[str]:
    """A line for each metric that a study names and no run has: its verdicts are about another one, or missing."""
    known = dict.fromkeys(key for run in records.runs for key in run.record.metrics.get("test", {}))
    lines = []
    for key in named_metrics(records) if known else ():
        if key not in known and key != DEFAULT_METRIC:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; nearest: {near[0]}" if near else ""
            lines.append(f"the study names the metric {key}, which no run has measured{hint}")
    return lines


def title_of(records: RecordFolder) -> str:
    """The study's name, or that of its runs, or the folder's."""
    study = (records.study or {}).get("study") or records.study or {}
    names = {run.record.name for run in records.runs}
    return str(study.get("name") or (names.pop() if len(names) == 1 else records.path.resolve().name))


def display_names(records: RecordFolder) -> dict[str, str]:
    """Cells without the axis names that all of them share: `tuning=adalora` reads `adalora` beside `tuning=full`, and
    `without=text` reads `without text` beside `everything`.
    """
    cells = list(dict.fromkeys([*records.cells, *_planned(records)]))
    split = {cell: [part.partition("=") for part in cell.split(",")] for cell in cells}
    axes = {tuple(axis for axis, equals, _ in parts if equals) for parts in split.values()}
    all_assigned = all(equals for parts in split.values() for _, equals, _ in parts)
    if len(axes) != 1 or not all_assigned:
        return {cell: cell for cell in cells}
    short = {cell: ", ".join(_shown(axis, value) for axis, _, value in parts) for cell, parts in split.items()}
    return short if len(set(short.values())) == len(cells) else {cell: cell for cell in cells}


def _shown(axis: str, value: str) -> str:
    if axis != "without":
        return value
    return "everything" if value == "nothing" else f"without {value.replace('_', ' ')}"


def _planned(records: RecordFolder) -> dict[str, int]:
    """Runs per cell: those that the study lists, at least those that are there."""
    counts: dict[str, int] = {}
    for run in (records.study or {}).get("runs", []):
        counts[str(run.get("cell", ""))] = counts.get(str(run.get("cell", "")), 0) + 1
    for cell, runs in records.cells.items():
        counts[cell] = max(counts.get(cell, 0), len(runs))
    return counts


def _count(runs: Iterable[StoredRun]) -> int:
    return sum(run.record.status == "finished" for run in runs)


def _figures(columns: Sequence[Column], runs: Sequence[StoredRun]) -> dict[str, Figure]:
    found = {}
    for column in columns:
        values = [column.of_record(run.record) for run in runs if run.record.status == "finished"]
        figure = _figure([value for value in values if value is not None])
        if figure is not None:
            found[column.key] = figure
    return found


def _shared(columns: Sequence[Column], measured: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Figures of metrics that do not come from training; a spread is shown only where they really differ."""
    found = {}
    for column in columns:
        values = [value for entry in measured if (value := number(entry.get(column.key))) is not None]
        figure = _figure(values)
        if figure is not None:
            same = figure.spread is None or figure.spread < 1e-9
            found[column.key] = Figure(figure.mean, None if same else figure.spread, figure.count)
    return found


def _figure(values: Sequence[float]) -> Figure | None:
    if not values:
        return None
    return Figure(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, len(values))
