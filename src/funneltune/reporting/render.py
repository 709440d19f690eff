"""A table and its comparisons as text: for the console, as Markdown, as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from funneltune.metrics import Comparison
from funneltune.reporting.columns import Column
from funneltune.reporting.sections import Section
from funneltune.reporting.table import Row, Table

WIDEST = 120
"""Columns that a console table may take."""
NAME_WIDTH = 26
VERDICT_STYLE = {"better": "bold green", "worse": "bold red", "no claim": "dim"}
COMPARISON_HEADINGS = (
    *("cell", "against", "metric", "difference", "95% interval", "g", "p (Holm)", "detectable"),
    "verdict",
)


def cell_text(row: Row, column: Column) -> str:
    """One number of the table, `-` where there is none."""
    figure = row.figures.get(column.key)
    return column.text(figure.mean, figure.spread) if figure else "-"


def to_console(
    shown: Table,
    comparisons: Sequence[Comparison],
    headline: str | None,
    width: int = WIDEST,
    sections: Sequence[Section] = (),
) -> Group:
    """Quality, cost and the headline's verdicts, each in as many tables as the width asks for."""
    parts: list[Any] = []
    for group, caption in (("quality", "test split"), ("cost", "cost")):
        columns = shown.group(group)
        rows = [row for row in shown.rows if group == "quality" or row.kind == "cell"]
        spread = " (± standard deviation over seeds)" if group == "quality" and shown.has_spread else ""
        for index, chunk in enumerate(_chunks(shown, rows, columns, min(width, WIDEST))):
            again = f" ({index + 1})" if index else ""
            parts.append(_rich(f"{shown.title}: {caption}{again}{spread}", rows, chunk, shown.has_spread))
    if not shown.columns:
        parts.append(_rich(f"{shown.title}: no finished run has metrics yet", shown.rows, (), False))
    said = [comparison for comparison in comparisons if headline is None or comparison.metric == headline]
    if said:
        parts.append(_rich_verdicts(said, shown.names))
        parts += [Text(line, style="dim") for line in methods(said, shown.names)]
    parts += [to_console_sections(sections)] if sections else []
    parts += [Text(f"Careful: {line}.", style="yellow") for line in shown.warnings]
    return Group(*parts)


def to_console_sections(sections: Sequence[Section]) -> Group:
    """Small tables, each with its remarks."""
    parts: list[Any] = []
    for section in sections:
        parts += [_rich_section(section), *(Text(note, style="dim") for note in section.notes)]
    return Group(*parts)


def console_for(file: Any = None) -> Console:
    """A console of the terminal's width, or of the widest that tables take where output is a pipe or a file."""
    probe = Console(file=file)
    return probe if probe.is_terminal else Console(file=file, width=WIDEST)


def to_markdown(
    shown: Table, comparisons: Sequence[Comparison], sections: Sequence[Section] = (), answer: Sequence[str] = ()
) -> str:
    """The answer, both parts of the table, every comparison, and what each number was measured on."""
    lines = [f"# {shown.title}", "", *([" ".join(answer), ""] if answer else [])]
    for warning in shown.warnings:
        lines += [f"**Careful:** {warning}.", ""]
    for group in ("quality", "cost"):
        columns = shown.group(group)
        if not columns:
            continue
        rows = [row for row in shown.rows if group == "quality" or row.kind == "cell"]
        body = [[row.name, row.runs, *(cell_text(row, column) for column in columns)] for row in rows]
        lines += [*_markdown_table(["", "runs", *(column.title for column in columns)], body), ""]
    if not shown.columns:
        lines += ["No finished run has metrics yet.", ""]
    if shown.has_spread:
        lines += ["± is the standard deviation over seeds.", ""]
    if comparisons:
        body = [comparison_texts(comparison, shown.names) for comparison in comparisons]
        lines += ["## Comparisons", "", *_markdown_table(COMPARISON_HEADINGS, body), ""]
        lines += [f"- {line}" for line in methods(comparisons, shown.names)] + [""]
    for section in sections:
        lines += [f"## {section.title}", "", *_markdown_table(section.headings, section.rows), ""]
        lines += [*(f"- {note}" for note in section.notes), ""] if section.notes else []
    said = [f"- {column.title}: {protocol_text(shown.protocols[column.key])}" for column in shown.group("quality")]
    if said:
        lines += ["## Protocol", "", *said, ""]
    return "\n".join(lines).replace("<", "&lt;")  # Markdown lets HTML through, and names may hold some


def to_csv(shown: Table) -> str:
    """One line per row with full precision; a spread column only for cells."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads, rows = plain_rows(shown)
    writer.writerow(heads)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return out.getvalue()


def plain_rows(shown: Table) -> tuple[list[str], list[list[Any]]]:
    """The table's heads, each column with its standard deviation over seeds, and its rows; None where there is none."""
    heads = [head for column in shown.columns for head in (column.key, f"{column.key}.sd")]
    rows = []
    for row in shown.rows:
        values: list[Any] = []
        for column in shown.columns:
            figure = row.figures.get(column.key)
            values += [None, None] if figure is None else [figure.mean, figure.spread]
        rows.append([row.kind, row.name, row.finished, row.planned, *values])
    return ["kind", "name", "finished", "planned", *heads], rows


def comparison_texts(comparison: Comparison, names: Mapping[str, str]) -> list[str]:
    """A comparison under `COMPARISON_HEADINGS`."""
    c = comparison
    interval = f"{c.low:+.4f} to {c.high:+.4f}" if c.low is not None and c.high is not None else "-"
    verdict = c.verdict + (f" ({c.note})" if c.note else "")
    return [
        names.get(c.cell, c.cell),
        names.get(c.baseline, c.baseline),
        c.metric,
        "-" if c.difference is None else f"{c.difference:+.4f}",
        interval,
        "-" if c.effect is None else f"{c.effect:+.1f}",
        "-" if c.p_holm is None else f"{c.p_holm:.2g}",
        "-" if c.detectable is None else f"{c.detectable:.4f}",
        verdict,
    ]


FEW = 3
"""Pairs whose second intervals are all told; of more, those that differ."""
NOTES = {
    "one seed": "the interval covers which requests were drawn, not what another seed would have given",
    "one fold": "the interval covers which requests were drawn, not what another fold would have given",
    "over seeds alone": "the interval covers what another seed would have given, not which requests were drawn",
    "the log changed": "the two sides were not trained and tested on the same data",
}
"""What a comparison's note means, where it does not say so itself."""


def methods(comparisons: Sequence[Comparison], names: Mapping[str, str]) -> list[str]:
    """How the intervals were made, once for each method, what the bootstrap says of AUCs, and what a note means."""
    found: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.method:
            found.setdefault(comparison.method, []).append(comparison)
    lines = []
    for method, using in found.items():
        metrics = ", ".join(dict.fromkeys(c.metric for c in using))
        counts = [replicates(using)]
        if any(c.clusters for c in using):
            counts.append(f"{_span([c.clusters for c in using])} clusters")
        lines.append(f"{metrics}: {method} ({', '.join(counts)})")
    twice = [c for c in comparisons if c.bootstrap_low is not None and c.bootstrap_high is not None]
    if twice:
        apart = [c for c in twice if _sign(c.low, c.high) != _sign(c.bootstrap_low, c.bootstrap_high)]
        told = twice if len(twice) <= FEW else apart
        said = [f"{_names(c, names)} {c.bootstrap_low:+.4f} to {c.bootstrap_high:+.4f}" for c in told]
        alike = f"it says the same of {'all' if not apart else 'the other'} {len(twice) - len(apart)} pairs"
        said += [alike] if len(twice) > FEW else []
        lines.append(f"two-level bootstrap of {twice[0].metric}, which a claim needs as well: {'; '.join(said)}")
    lines += [f"{note}: {meant}." for note, meant in NOTES.items() if any(c.note == note for c in comparisons)]
    if any(c.effect is not None for c in comparisons):
        lines.append("g: the difference in standard deviations of a single run over seeds (Hedges).")
    return [*lines, "Holm over the pairs of one metric; detectable: the smallest difference found with 80% power."]


def _sign(low: float | None, high: float | None) -> int:
    """On which side of zero an interval lies; 0 where it holds zero, or is unknown."""
    return 0 if low is None or high is None else int(low > 0) - int(high < 0)


def replicates(comparisons: Sequence[Comparison]) -> str:
    """How many pairs of runs comparisons rest on: `5 seeds`, `5 folds`, `10 runs of 5 folds`."""
    counts, folds = [c.seeds for c in comparisons], [c.folds for c in comparisons]
    many = "s" * (max(counts) > 1)
    if not any(folds):
        return f"{_span(counts)} seed{many}"
    return f"{_span(counts)} fold{many}" if counts == folds else f"{_span(counts)} runs of {_span(folds)} folds"


def _names(c: Comparison, names: Mapping[str, str]) -> str:
    return f"{names.get(c.cell, c.cell)} against {names.get(c.baseline, c.baseline)}"


def _span(counts: Sequence[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)}-{max(counts)}"


def protocol_text(protocol: Mapping[str, Any]) -> str:
    """A protocol on one line."""
    said = [str(protocol["rows"])] if "rows" in protocol else []
    for name, value in protocol.items():
        if name != "rows":
            said.append(f"{name.replace('_', ' ')} {f'{value:.1f}' if isinstance(value, float) else value}")
    return "; ".join(said) or "not recorded"


def _dense(row: Row, column: Column, rows: Sequence[Row], dense: bool) -> str:
    """A number of the console's table; one without a spread leaves the room for it, so that points align."""
    figure = row.figures.get(column.key)
    if figure is None:
        return "-"
    text = column.text(figure.mean, figure.spread if column.group == "quality" else None, dense)
    others = (other.figures.get(column.key) for other in rows)
    if column.group == "quality" and figure.spread is None and any(f and f.spread is not None for f in others):
        text += " " * len(" ±.0000")
    return text


def _chunks(shown: Table, rows: Sequence[Row], columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Columns dealt into tables that fit the width, beside the names."""
    names = min(NAME_WIDTH, max(len(row.label) for row in rows) if rows else 0) + 4
    chunks: list[list[Column]] = []
    used = width + 1
    for column in columns:
        texts = [*column.heading, *(_dense(row, column, rows, shown.has_spread) for row in rows)]
        need = max(len(text) for text in texts) + 2
        if used + need > width:
            chunks.append([])
            used = names
        chunks[-1].append(column)
        used += need
    return chunks


def _plain_table(caption: str) -> RichTable:
    made = RichTable(title=caption, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    made.padding = (0, 1, 0, 0)
    return made


def _rich(caption: str, rows: Sequence[Row], columns: Sequence[Column], dense: bool) -> RichTable:
    made = _plain_table(caption)
    made.add_column("", max_width=NAME_WIDTH, overflow="fold")
    for column in columns:
        made.add_column("\n".join(column.heading).rstrip("\n"), justify="right", no_wrap=True)
    kind = None
    for row in rows:
        if kind is not None and row.kind != kind:
            made.add_section()
        kind = row.kind
        style = {"cell": "", "baseline": "dim", "ceiling": "italic"}[row.kind]
        made.add_row(Text(row.label), *(_dense(row, column, rows, dense) for column in columns), style=style)
    return made


def _rich_verdicts(comparisons: Sequence[Comparison], names: Mapping[str, str]) -> RichTable:
    """Comparisons. What all share (metric, cell, baseline) is said once, in the title; what none has, nowhere."""
    bodies = [comparison_texts(comparison, names) for comparison in comparisons]
    shared = [index for index in range(3) if len({body[index] for body in bodies}) == 1]
    first = bodies[0]
    title = " ".join(
        word for index, word in ((0, first[0]), (2, first[2]), (1, f"against {first[1]}")) if index in shared
    )
    made = _plain_table(title)
    empty = [index for index in range(len(COMPARISON_HEADINGS)) if all(body[index] == "-" for body in bodies)]
    kept = [index for index in range(len(COMPARISON_HEADINGS)) if index not in (*shared, *empty)]
    for index in kept:
        text = index < 3 or index == len(COMPARISON_HEADINGS) - 1
        made.add_column(
            COMPARISON_HEADINGS[index],
            justify="left" if text else "right",
            no_wrap=not text,
            max_width=NAME_WIDTH if text else None,
            overflow="fold",
        )
    for comparison, body in zip(comparisons, bodies, strict=True):
        texts = [Text(body[index]) for index in kept]
        texts[-1].stylize(VERDICT_STYLE[comparison.verdict])
        made.add_row(*texts)
    return made


def _rich_section(section: Section) -> RichTable:
    made = _plain_table(f"\n{section.title}")
    for heading in section.headings:
        made.add_column(heading, overflow="fold")
    for row in section.rows:
        made.add_row(*(Text(text) for text in row))
    return made


def _markdown_table(headings: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join([" --- ", *([" ---: "] * (len(headings) - 1))]) + "|"
    return [line(headings), rule, *(line(cells) for cells in body)]
