"""All that a report shows, worked out once from the records: table, verdicts, sections, and what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from funneltune.metrics import Comparison
from funneltune.metrics.comparison import has_direction, higher_is_better
from funneltune.records import RecordFolder, StoredRun
from funneltune.reporting.columns import Column
from funneltune.reporting.comparisons import compare, headline, named_metrics, plan_of
from funneltune.reporting.gradients import gradients_section
from funneltune.reporting.privacy import privacy_section
from funneltune.reporting.ranks import likeness_section, ranks_section
from funneltune.reporting.sections import Section
from funneltune.reporting.table import Figure, Row, Table, table
from funneltune.reporting.terms import terms_section

OPPOSITE = {"better": "worse", "worse": "better", "no claim": "no claim"}
SHOWN_METRICS = 4
"""Metrics that are drawn each on its own; the table holds them all."""


@dataclass(frozen=True)
class Findings:
    """A folder of records, its table, its verdicts and its further sections."""

    records: RecordFolder
    table: Table
    comparisons: tuple[Comparison, ...]
    sections: tuple[Section, ...]

    @classmethod
    def of(cls, records: RecordFolder) -> Findings:
        """Work them out. Raises ConfigError where a study's `pairs` is wrong."""
        shown = table(records)
        makers = (terms_section, privacy_section, ranks_section, likeness_section, gradients_section)
        sections = [section for make in makers if (section := make(records, shown.names)) is not None]
        return cls(records, shown, tuple(comparisons_of(records)), tuple(sections))

    @property
    def headline(self) -> str | None:
        """The metric whose verdicts are printed; None where there is no study: all are."""
        return headline(self.records, self.comparisons)

    @property
    def column(self) -> Column | None:
        """The column of the metric that the report is about: the study's, else the first of the table."""
        quality = self.table.group("quality")
        named = {column.key: column for column in quality}
        return named.get(self.headline or "") or next(iter(quality), None)

    @property
    def columns(self) -> list[Column]:
        """The columns that are drawn: the one it is about, then the others that the study names."""
        quality = self.table.group("quality")
        wanted = named_metrics(self.records) or [column.key for column in quality]
        first = [self.column] if self.column else []
        rest = [column for key in wanted for column in quality if column.key == key and column not in first]
        return [column for column in (*first, *rest) if has_direction(column.key)][:SHOWN_METRICS]

    @property
    def baseline(self) -> str | None:
        """What the study holds its cells against: a cell, or a baseline scored beside every run."""
        named = plan_of(self.records).get("baseline")
        return None if named is None else str(named)

    @property
    def reference(self) -> str:
        """The cell whose config the others are shown as changes of: the baseline, else the first."""
        cells = list(self.records.cells)
        return self.baseline if self.baseline in cells else cells[0]

    def runs(self, cell: str) -> list[StoredRun]:
        """A cell's finished runs, seeds ascending."""
        return [run for run in self.records.cells.get(cell, ()) if run.record.status == "finished"]

    def cells(self) -> list[str]:
        """The cells that have a finished run, in the study's order."""
        return [cell for cell in self.records.cells if self.runs(cell)]

    def name(self, cell: str) -> str:
        """A cell as the table writes it."""
        return self.table.names.get(cell, cell)

    def row(self, cell: str) -> Row:
        """A cell's line of the table."""
        return next(row for row in self.table.rows if row.kind == "cell" and row.name == self.name(cell))

    def figure(self, cell: str, key: str) -> Figure | None:
        """A cell's number in a column."""
        return self.row(cell).figures.get(key)

    def verdict(self, cell: str, metric: str) -> Comparison | None:
        """A cell against the study's baseline, whichever way round the pair was compared."""
        for one in self.comparisons:
            if one.metric == metric and (one.cell, one.baseline) == (cell, self.baseline):
                return one
            if one.metric == metric and (one.baseline, one.cell) == (cell, self.baseline):
                return turned(one)
        return None

    def best(self, column: Column, cells: Sequence[str] | None = None) -> str | None:
        """The cell with the best mean of a column of quality; None where the metric has no direction or no value."""
        if column.group != "quality" or not has_direction(column.key):
            return None
        known = {cell: found.mean for cell in (cells or self.cells()) if (found := self.figure(cell, column.key))}
        if len(known) < 2:
            return None
        return (max if higher_is_better(column.key) else min)(known, key=lambda cell: known[cell])


def turned(one: Comparison) -> Comparison:
    """The same pair seen from its other side."""

    def minus(value: float | None) -> float | None:
        return None if value is None else -value

    return replace(
        one,
        cell=one.baseline,
        baseline=one.cell,
        verdict=OPPOSITE[one.verdict],  # type: ignore[arg-type]
        value=one.baseline_value,
        baseline_value=one.value,
        difference=minus(one.difference),
        low=minus(one.high),
        high=minus(one.low),
        effect=minus(one.effect),
        bootstrap_low=minus(one.bootstrap_high),
        bootstrap_high=minus(one.bootstrap_low),
    )


def comparisons_of(records: RecordFolder) -> list[Comparison]:
    """A study's cells against its baseline; else what the runs themselves recorded against their baselines."""
    found = compare(records)
    if found or records.study is not None:
        return found
    return [comparison for run in records.runs for comparison in recorded(run.record.comparisons, run.cell)]


def recorded(entries: Sequence[dict[str, Any]], cell: str) -> list[Comparison]:
    """Comparisons as a run's record holds them; entries of another shape are left out."""
    names = set(Comparison.__dataclass_fields__)
    whole = [entry for entry in entries if set(entry) <= names and {"metric", "baseline", "verdict"} <= set(entry)]
    return [Comparison(**({"cell": cell} | entry)) for entry in whole]
