"""From any folder of records to the printed table, table.md, table.csv and report.html."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from funneltune.errors import RunError
from funneltune.files import write_text
from funneltune.metrics import Comparison
from funneltune.records import STUDY_NAME, RecordFolder, as_json, read_records, write_json
from funneltune.reporting.comparisons import compare, headline
from funneltune.reporting.gradients import gradients_section
from funneltune.reporting.page import to_html
from funneltune.reporting.ranks import likeness_section, ranks_section, write_ranks
from funneltune.reporting.render import console_for, plain_rows, to_console, to_csv, to_markdown
from funneltune.reporting.sections import Section
from funneltune.reporting.table import Table, table
from funneltune.reporting.terms import terms_section


@dataclass(frozen=True)
class Report:
    """What `report` found and where it wrote it."""

    table: Table
    comparisons: tuple[Comparison, ...]
    folder: Path
    sections: tuple[Section, ...] = ()

    def tables(self) -> dict[str, tuple[list[str], list[list[Any]]]]:
        """Table and verdicts as columns and rows of plain values, for trackers."""
        fields = list(Comparison.__dataclass_fields__)
        verdicts = [[comparison.to_json()[name] for name in fields] for comparison in self.comparisons]
        sections = {
            s.title.lower().replace(" ", "_"): (list(s.headings), [list(r) for r in s.rows]) for s in self.sections
        }
        return {"table": plain_rows(self.table), "verdicts": (fields, verdicts)} | sections


def report(path: Path | str, output: Path | str | None = None, console: Console | None = None) -> Report:
    """Print the table of a study, its evidence, a folder of runs or one run, and write it to `output`.

    `output` is the folder itself by default; then the study.json there, if any, learns its comparisons as well.

    Raises:
        RunError: The folder is missing, holds no record, or holds one of another version; `output` is a file.
    """
    records, made = _made(path, output)
    out = console or console_for()
    about = headline(records, made.comparisons)
    out.print(to_console(made.table, made.comparisons, about, out.width, made.sections))
    return made


def write_report(path: Path | str, output: Path | str | None = None) -> Report:
    """`report` without printing."""
    return _made(path, output)[1]


def _made(path: Path | str, output: Path | str | None) -> tuple[RecordFolder, Report]:
    records = read_records(path)
    folder = Path(output) if output is not None else records.path
    if folder.exists() and not folder.is_dir():
        raise RunError(f"output={folder} is a file; name a folder.")
    shown, found = table(records), comparisons_of(records)
    parts = [make(records, shown.names) for make in (terms_section, ranks_section, likeness_section, gradients_section)]
    sections = [section for section in parts if section is not None]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.md", to_markdown(shown, found, sections))
    write_text(folder / "table.csv", to_csv(shown))
    write_text(folder / "report.html", to_html(shown, found, records, sections))
    if records.study is not None:  # a single run has drawn its own
        write_ranks(records, shown.names, folder)
    if output is None and records.study is not None:
        _keep(records.path / STUDY_NAME, records.study, found)
    return records, Report(shown, tuple(found), folder, tuple(sections))


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


def _keep(path: Path, study: dict[str, Any], comparisons: Sequence[Comparison]) -> None:
    """Write the comparisons into study.json where they are new; the same records give the same file."""
    plain = as_json([comparison.to_json() for comparison in comparisons])
    if study.get("comparisons") != plain:
        write_json(path, {**study, "comparisons": plain})
