"""The report as one self-contained HTML page: no script, no link, nothing to fetch."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from funneltune.metrics import Comparison
from funneltune.records import RecordFolder
from funneltune.reporting.comparisons import fold_of
from funneltune.reporting.render import (
    COMPARISON_HEADINGS,
    cell_text,
    comparison_texts,
    methods,
    protocol_text,
)
from funneltune.reporting.sections import Section
from funneltune.reporting.table import Table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1f24; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #d8dee4; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.baseline td { color: #57606a; } tr.ceiling td { font-style: italic; color: #57606a; }
p.careful { border-left: 4px solid #bf8700; padding-left: .8rem; }
td.better { color: #116329; font-weight: 600; } td.worse { color: #a40e26; font-weight: 600; }
"""


def to_html(
    shown: Table, comparisons: Sequence[Comparison], records: RecordFolder, sections: Sequence[Section] = ()
) -> str:
    """Table, comparisons, protocol, and where the numbers come from. Every text is escaped."""
    title = escape(shown.title)
    parts = [f"<h1>{title}</h1>"]
    parts += [f'<p class="careful">Careful: {escape(warning)}.</p>' for warning in shown.warnings]
    for group, heading in (("quality", "Quality on the test split"), ("cost", "Cost")):
        columns = shown.group(group)
        if not columns:
            continue
        rows = [row for row in shown.rows if group == "quality" or row.kind == "cell"]
        body = [
            (row.kind, [(row.name, ""), (row.runs, ""), *((cell_text(row, column), "") for column in columns)])
            for row in rows
        ]
        parts += [f"<h2>{heading}</h2>", _table(["", "runs", *(column.title for column in columns)], body)]
    if comparisons:
        verdicts = []
        for c in comparisons:
            *texts, verdict = comparison_texts(c, shown.names)
            verdicts.append(("", [*((text, "") for text in texts), (verdict, c.verdict)]))
        parts += ["<h2>Comparisons</h2>", _table(COMPARISON_HEADINGS, verdicts)]
        parts += [_bullets(methods(comparisons, shown.names))]
    for section in sections:
        told = [("", [(text, "") for text in row]) for row in section.rows]
        parts += [f"<h2>{escape(section.title)}</h2>", _table(section.headings, told), _bullets(section.notes)]
    said = [f"{column.title}: {protocol_text(shown.protocols[column.key])}" for column in shown.group("quality")]
    parts += [
        "<h2>Protocol</h2>",
        _bullets([*(["± is the standard deviation over seeds"] if shown.has_spread else []), *said]),
    ]
    parts += ["<h2>Runs</h2>", _runs(records)]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _runs(records: RecordFolder) -> str:
    body = []
    for run in records.runs:
        record = run.record
        where = run.path.relative_to(records.path) if run.path.is_relative_to(records.path) else run.path.name
        fold = fold_of(run)
        which = str(record.seed) if fold is None else f"{record.seed}, fold {fold}"
        texts = (run.cell, which, record.status, str(where), record.config_hash, record.git_commit or "")
        body.append((record.status, [(text, "") for text in (*texts, record.error or "")]))
    return _table(["cell", "seed", "status", "record", "config", "commit", "error"], body)


def _table(headings: Sequence[str], body: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    """A table from rows of (row class, cells of (text, cell class))."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    rows = "".join(
        f"<tr{_class(row_class)}>"
        + "".join(f"<td{_class(name)}>{escape(text)}</td>" for text, name in cells)
        + "</tr>\n"
        for row_class, cells in body
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _class(name: str) -> str:
    return f' class="{escape(name, quote=True)}"' if name else ""


def _bullets(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
