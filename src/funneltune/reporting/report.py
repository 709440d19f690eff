"""From any folder of records to the printed table, table.md, .csv and .tex, report.html, and its figures as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from funneltune.errors import ConfigError, RunError
from funneltune.files import told_write_faults, whole_file, write_text
from funneltune.metrics import Comparison
from funneltune.records import STUDY_NAME, as_json, read_records, record_paths, write_json
from funneltune.reporting.answer import answer
from funneltune.reporting.decided import NUMBER_HEADINGS, decisions_below
from funneltune.reporting.figures import FORMATS, Drawing, groups, overview, save, to_png
from funneltune.reporting.figures.rank_maps import write_ranks
from funneltune.reporting.findings import Findings
from funneltune.reporting.latex import to_latex
from funneltune.reporting.page import decisions_html, to_html
from funneltune.reporting.render import console_for, plain_rows, to_console, to_console_sections, to_csv, to_markdown
from funneltune.reporting.sections import Section
from funneltune.reporting.table import Table

PAGE = "report.html"
FIGURES = "figures"
OVERVIEW = "overview.png"


@dataclass(frozen=True)
class Report:
    """What `report` found and where it wrote it."""

    findings: Findings
    folder: Path
    drawings: tuple[Drawing, ...]

    @property
    def page(self) -> Path:
        """The page that was written."""
        return self.folder / PAGE

    @property
    def table(self) -> Table:
        """Rows and columns."""
        return self.findings.table

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every pair on every metric, with its verdict."""
        return self.findings.comparisons

    @property
    def sections(self) -> tuple[Section, ...]:
        """Further small tables."""
        return self.findings.sections

    @property
    def answer(self) -> str:
        """What the report says, in a paragraph."""
        return " ".join(answer(self.findings))

    def pictures(self) -> dict[str, bytes]:
        """Every figure as PNG, for trackers."""
        return {drawing.name: to_png(drawing) for drawing in self.drawings}

    def tables(self) -> dict[str, tuple[list[str], list[list[Any]]]]:
        """Table and verdicts as columns and rows of plain values, for trackers."""
        fields = list(Comparison.__dataclass_fields__)
        verdicts = [[comparison.to_json()[name] for name in fields] for comparison in self.comparisons]
        sections = {
            s.title.lower().replace(" ", "_"): (list(s.headings), [list(r) for r in s.rows]) for s in self.sections
        }
        return {"table": plain_rows(self.table), "verdicts": (fields, verdicts)} | sections


def report(
    path: Path | str, output: Path | str | None = None, console: Console | None = None, figures: Sequence[str] = ()
) -> Report:
    """Print the table of a study, its evidence, a folder of runs or one run, and write it to `output`.

    `output` is the folder itself by default; then the study.json there, if any, learns its comparisons as well.
    `figures` names formats (png, svg, pdf) in which every figure is written into `output`/figures too.

    Raises:
        RunError: The folder is missing, holds none, one of another version or several studies; `output` is a file.
        ConfigError: A format is unknown.
    """
    made = write_report(path, output, figures)
    out = console or console_for()
    found = made.findings
    out.print(to_console(found.table, found.comparisons, found.headline, out.width, found.sections))
    return made


def report_decisions(path: Path | str, output: Path | str | None = None, console: Console | None = None) -> Path | None:
    """Print the decisions of a folder that holds no run, and write their page to `output`, by default the folder.

    Returns: the page; None where the folder holds runs (`report` shows decisions beside them) or no decision.

    Raises:
        RunError: a decision cannot be read, its picture is missing, or `output` is a file.
    """
    folder = Path(path)
    if not folder.is_dir() or record_paths(folder) or not (found := decisions_below(folder)):
        return None
    written = Path(output) if output is not None else folder
    if written.exists() and not written.is_dir():
        raise RunError(f"output={written} is a file; name a folder.")
    with told_write_faults(written):
        written.mkdir(parents=True, exist_ok=True)
    write_text(written / PAGE, decisions_html(folder))
    sections = (Section(made["title"], NUMBER_HEADINGS, tuple(made["numbers"]), tuple(made["notes"])) for made in found)
    (console or console_for()).print(to_console_sections(list(sections)))
    return written / PAGE


def write_report(path: Path | str, output: Path | str | None = None, figures: Sequence[str] = ()) -> Report:
    """`report` without printing."""
    unknown = [form for form in figures if form not in FORMATS]
    if unknown:
        raise ConfigError(f"figures={unknown[0]} is no format; give one or more of {', '.join(FORMATS)}.")
    records = read_records(path)
    if records.study is None and len(studies := sorted(found.parent for found in records.path.rglob(STUDY_NAME))) > 1:
        named = ", ".join(str(study.relative_to(records.path)) for study in studies)
        raise RunError(f"{path} holds several studies ({named}), which one table would mix; name one of them.")
    folder = Path(output) if output is not None else records.path
    if folder.exists() and not folder.is_dir():
        raise RunError(f"output={folder} is a file; name a folder.")
    found = Findings.of(records)
    drawn = groups(found)
    with told_write_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.md", to_markdown(found.table, found.comparisons, found.sections, answer(found)))
    write_text(folder / "table.csv", to_csv(found.table))
    write_text(folder / "table.tex", to_latex(found))
    write_text(folder / PAGE, to_html(found, drawn))
    drawings = tuple(drawing for group in drawn for drawing in group.drawings)
    if figures:
        (folder / FIGURES).mkdir(exist_ok=True)
    for form in figures:
        for drawing in drawings:
            save(drawing, folder / FIGURES, form)
    if "png" in figures and (whole := overview(drawings)) is not None:
        with whole_file(folder / FIGURES / OVERVIEW) as part:
            part.write_bytes(whole)
    if records.study is not None:  # a single run has drawn its own
        write_ranks(records, found.table.names, folder)
    if output is None and records.study is not None:
        _keep(records.path / STUDY_NAME, records.study, found.comparisons)
    return Report(found, folder, drawings)


def _keep(path: Path, study: dict[str, Any], comparisons: Sequence[Comparison]) -> None:
    """Write the comparisons into study.json where they are new; the same records give the same file."""
    plain = as_json([comparison.to_json() for comparison in comparisons])
    if study.get("comparisons") != plain:
        write_json(path, {**study, "comparisons": plain})
