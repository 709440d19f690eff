"""The report as one self-contained HTML page: inline pictures, style and script, nothing to fetch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from funneltune.reporting.answer import answer
from funneltune.reporting.changes import changes_section, flat_config
from funneltune.reporting.columns import Column
from funneltune.reporting.comparisons import fold_of
from funneltune.reporting.decided import NUMBER_HEADINGS, decisions_below
from funneltune.reporting.figures import Group, to_svg
from funneltune.reporting.findings import Findings
from funneltune.reporting.meanings import meaning_of
from funneltune.reporting.privacy import privacy_in_words
from funneltune.reporting.provenance import data_rows
from funneltune.reporting.render import COMPARISON_HEADINGS, comparison_texts, methods, protocol_text
from funneltune.reporting.sections import Section
from funneltune.reporting.table import Row

LONG = 60
"""Letters from which on a field of a table is broken into lines."""
MARKS = {"better": "▲", "worse": "▼", "no claim": "○"}
ASSETS = Environment(
    loader=PackageLoader("funneltune.reporting", "assets"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
SPREAD = ", mean ± standard deviation over seeds, below it the 95% interval of the mean"
ASSETS.tests["number"] = lambda text: is_number(str(text))
ASSETS.tests["long"] = lambda text: len(str(text)) > LONG
RUN_HEADINGS = ("cell", "seed", "status", "minutes", "steps", "privacy", "record", "config", "commit", "error")


def to_html(findings: Findings, groups: Sequence[Group]) -> str:
    """Answer, table, figures, comparisons, what each run was and how to run it again. The same records give the same
    page.
    """
    changes = changes_section(findings)
    sections = [*findings.sections, *([changes] if changes else [])]
    told = _with_ids(sections)
    pictures = [_group(group) for group in groups]
    decisions = decisions_below(findings.records.path)
    comparisons = [(comparison_texts(c, findings.table.names), c.verdict) for c in findings.comparisons]
    contents = [
        ("answer", "Answer"),
        ("table", "Quality and cost"),
        *((group["id"], group["title"]) for group in pictures),
        *((made["id"], made["title"]) for made in decisions),
        *([("comparisons", "Every comparison")] if comparisons else []),
        *((section["id"], section["title"]) for section in told),
        *(("data", "Data and protocol"), ("again", "Run it again"), ("runs", "Runs")),
    ]
    reference = findings.reference
    first = next(iter(findings.runs(reference)), None)
    data_headings, data = data_rows(findings.records, findings.table.names)
    return ASSETS.get_template("report.html.j2").render(
        title=findings.table.title,
        style=Markup(_asset("report.css")),
        script=Markup(_asset("report.js")),
        contents=contents,
        answer=answer(findings),
        warnings=findings.table.warnings,
        **_main_table(findings),
        groups=pictures,
        decisions=decisions,
        number_headings=NUMBER_HEADINGS,
        comparisons=[texts for texts, _ in comparisons],
        comparison_kinds=[verdict for _, verdict in comparisons],
        comparison_headings=COMPARISON_HEADINGS,
        methods=methods(findings.comparisons, findings.table.names) if comparisons else [],
        sections=told,
        data_headings=data_headings,
        data_rows=data,
        protocols=[
            (column.title, meaning_of(column.key), protocol_text(findings.table.protocols[column.key]))
            for column in findings.table.group("quality")
        ],
        commands=commands(findings),
        versions=_versions(findings),
        reference=findings.name(reference) or findings.table.title,
        config=[] if first is None else sorted(flat_config(first.record.config).items()),
        run_headings=RUN_HEADINGS,
        runs=list(_runs(findings)),
    )


def decisions_html(folder: Path) -> str:
    """Decisions alone, of a folder that holds no run."""
    return ASSETS.get_template("decisions.html.j2").render(
        title=folder.resolve().name,
        style=Markup(_asset("report.css")),
        script=Markup(_asset("report.js")),
        decisions=decisions_below(folder),
        number_headings=NUMBER_HEADINGS,
    )


def commands(findings: Findings) -> list[str]:
    """What to type for the same again: the study, and the reference's first run alone."""
    study = findings.records.study or {}
    plan = study.get("study") or study
    told = [str(study.get("command") or f"funneltune study {plan.get('name', findings.table.title)}")] if study else []
    run = next(iter(findings.runs(findings.reference)), None)
    return [*told, *([run.record.command] if run is not None and run.record.command else [])]


def _main_table(findings: Findings) -> dict[str, Any]:
    shown = findings.table
    about = findings.column
    cell_of = {findings.name(cell): cell for cell in findings.records.cells}
    best = {column.key: findings.best(column) for column in shown.columns}
    firsts = {shown.group(group)[0].key for group in ("quality", "cost") if shown.group(group)}
    judged = {c.metric for c in findings.comparisons} if findings.baseline else set()
    rows = []
    for row in shown.rows:
        cell = cell_of.get(row.name) if row.kind == "cell" else None
        verdict = findings.verdict(cell, about.key) if cell is not None and about is not None else None
        rows.append(
            {
                "name": row.name or shown.title,
                "kind": row.kind,
                "runs": row.runs,
                "finished": row.finished,
                "baseline": cell is not None and cell == findings.baseline,
                "verdict": verdict.verdict if verdict else "",
                "cells": [_cell(findings, row, cell, column, best, firsts, judged) for column in shown.columns],
            }
        )
    verdicts = [word for word in MARKS if any(row["verdict"] == word for row in rows)]
    return {
        "columns": [asdict(column) | {"first": column.key in firsts} for column in shown.columns],
        "rows": rows,
        "verdicts": verdicts,
        "marks": MARKS,
        "about": about.title if about else "",
        "groups_of_columns": [group for group in ("quality", "cost") if shown.group(group)],
        "caption": "Test split" + (SPREAD if shown.has_spread else "") + ".",
        "table_notes": _table_notes(findings, bool(verdicts)),
    }


def _table_notes(findings: Findings, judged: bool) -> list[str]:
    notes = ["★ best mean of the cells; a best mean alone is no claim"]
    if judged:
        notes.append(
            f"▲ better, ▼ worse than {findings.name(findings.baseline or '')} (Holm-corrected over the pairs of a "
            "metric); without a mark: no claim"
        )
    if findings.table.has_spread:
        notes.append("the interval is over seeds (t); the verdicts' intervals know of the drawn requests as well")
    return notes


def _cell(
    findings: Findings,
    row: Row,
    cell: str | None,
    column: Column,
    best: Mapping[str, str | None],
    firsts: set[str],
    judged: set[str],
) -> dict[str, Any]:
    figure = row.figures.get(column.key)
    verdict = findings.verdict(cell, column.key) if cell is not None else None
    reach = figure.reach if figure is not None and column.group == "quality" and cell is not None else None
    assert reach is None or figure is not None
    return {
        "group": column.group,
        "first": column.key in firsts,
        "text": "-"
        if figure is None
        else column.text(figure.mean, figure.spread if column.group == "quality" else None),
        "sort": "" if figure is None else f"{figure.mean:.10g}",
        "best": cell is not None and best[column.key] == cell,
        "interval": "" if reach is None or figure is None else span(figure.mean, reach),
        "judged": column.key in judged,
        "verdict": verdict.verdict if verdict else "",
        "difference": f"{verdict.difference:+.4f}" if verdict and verdict.difference is not None else "",
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "id": slug(group.title),
        "title": group.title,
        "lead": group.lead,
        "section": None,
        "drawings": [
            {
                "name": drawing.name,
                "title": drawing.title,
                "caption": drawing.caption,
                "svg": Markup(to_svg(drawing)),
                "headings": drawing.headings,
                "rows": drawing.rows,
            }
            for drawing in group.drawings
        ],
    }


def _with_ids(sections: Iterable[Section]) -> list[dict[str, Any]]:
    return [asdict(section) | {"id": slug(section.title)} for section in sections]


def _runs(findings: Findings) -> Iterable[tuple[str, ...]]:
    root = findings.records.path
    for run in findings.records.runs:
        record = run.record
        where = run.path.relative_to(root) if run.path.is_relative_to(root) else run.path.name
        fold = fold_of(run)
        which = str(record.seed) if fold is None else f"{record.seed}, fold {fold}"
        wall, steps = record.cost.get("wall_seconds"), record.cost.get("steps")
        minutes = "" if wall is None else f"{wall / 60:.1f}"
        yield (
            *(findings.name(run.cell), which, record.status, minutes, "" if steps is None else f"{steps:,}"),
            privacy_in_words(record.privacy),
            *(str(where), record.config_hash[:12], (record.git_commit or "")[:12], record.error or ""),
        )


def _versions(findings: Findings) -> str:
    known = next((run.record.versions for run in findings.records.runs if run.record.versions), {})
    return ", ".join(f"{name} {version}" for name, version in known.items()) or "not recorded"


def span(middle: float, reach: float) -> str:
    """An interval as tables write it."""
    return f"{middle - reach:.4f} to {middle + reach:.4f}"


def is_number(text: str) -> bool:
    """Whether a field is a number (and so stands to the right).

    >>> [is_number(text) for text in ("-0.0012 to +0.0031", "1,234", "5e-05", "mean", "", "query.0")]
    [True, True, True, False, False, False]
    """
    return re.match(r"[-+]?[.\d]|-$", text) is not None


def slug(title: str) -> str:
    """A title as an element's id."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _asset(name: str) -> str:
    loader = ASSETS.loader
    assert loader is not None
    return loader.get_source(ASSETS, name)[0]
