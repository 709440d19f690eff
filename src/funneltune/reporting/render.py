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
from funneltune.reporting.table import Row, Table

WIDEST = 120
"""Columns that a console table may take."""
NAME_WIDTH = 26
VERDICT_STYLE = {"better": "bold green", "worse": "bold red", "no claim": "dim"}
COMPARISON_HEADINGS = ("against", "metric", "difference", "95% interval", "p (Holm)", "detectable", "verdict")


def cell_text(row: Row, column: Column) -> str:
    """One number of the table, `-` where there is none."""
    figure = row.figures.get(column.key)
    return column.text(figure.mean, figure.spread) if figure else "-"


def to_console(shown: Table, comparisons: Sequence[Comparison], headline: str | None, width: int = WIDEST) -> Group:
    """Quality, cost and the headline's verdicts, each in as many tables as the width asks for."""
    parts: list[Any] = []
    for group, caption in (("quality", "test split"), ("cost", "cost")):
        columns = shown.group(group)
        rows = [row for row in shown.rows if group == "quality" or row.kind == "cell"]
        for index, chunk in enumerate(_chunks(shown, columns, min(width, WIDEST))):
            caption_text = f"{shown.title}: {caption}" + (f" ({index + 1})" if index else "")
            parts.append(_rich(caption_text, rows, chunk))
    if not shown.group("quality"):
        parts.append(_rich(f"{shown.title}: no finished run has metrics yet", shown.rows, ()))
    said = [comparison for comparison in comparisons if comparison.metric == headline]
    if said:
        parts.append(_rich_verdicts(said))
    return Group(*parts)


def console_for(file: Any = None) -> Console:
    """A console of the terminal's width, or of the widest that tables take where output is a pipe or a file."""
    probe = Console(file=file)
    return probe if probe.is_terminal else Console(file=file, width=WIDEST)


def to_markdown(shown: Table, comparisons: Sequence[Comparison]) -> str:
    """Both parts of the table, every comparison, and what each number was measured on."""
    lines = [f"# {shown.title}", ""]
    for group in ("quality", "cost"):
        columns = shown.group(group)
        if not columns:
            continue
        rows = [row for row in shown.rows if group == "quality" or row.kind == "cell"]
        body = [[row.name, row.runs, *(cell_text(row, column) for column in columns)] for row in rows]
        lines += [*_markdown_table(["", "runs", *(column.title for column in columns)], body), ""]
    if not shown.columns:
        lines += ["No finished run has metrics yet.", ""]
    if shown.group("quality"):
        lines += ["± is the standard deviation over seeds.", ""]
    if comparisons:
        body = [[comparison.cell, *comparison_texts(comparison)] for comparison in comparisons]
        lines += ["## Comparisons", "", *_markdown_table(["cell", *COMPARISON_HEADINGS], body), ""]
        lines += [f"- {line}" for line in methods(comparisons)] + [""]
    said = [f"- {column.title}: {protocol_text(shown.protocols[column.key])}" for column in shown.group("quality")]
    if said:
        lines += ["## Protocol", "", *said, ""]
    return "\n".join(lines)


def to_csv(shown: Table) -> str:
    """One line per row with full precision; a spread column only for cells."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [head for column in shown.columns for head in (column.key, f"{column.key}.sd")]
    writer.writerow(["kind", "name", "finished", "planned", *heads])
    for row in shown.rows:
        values: list[Any] = []
        for column in shown.columns:
            figure = row.figures.get(column.key)
            values += ["", ""] if figure is None else [figure.mean, "" if figure.spread is None else figure.spread]
        writer.writerow([row.kind, row.name, row.finished, row.planned, *values])
    return out.getvalue()


def comparison_texts(comparison: Comparison) -> list[str]:
    """A comparison under `COMPARISON_HEADINGS`."""
    c = comparison
    interval = f"{c.low:+.4f} to {c.high:+.4f}" if c.low is not None and c.high is not None else "-"
    verdict = c.verdict + (f" ({c.note})" if c.note else "")
    return [
        c.baseline,
        c.metric,
        "-" if c.difference is None else f"{c.difference:+.4f}",
        interval,
        "-" if c.p_holm is None else f"{c.p_holm:.2g}",
        "-" if c.detectable is None else f"{c.detectable:.4f}",
        verdict,
    ]


def methods(comparisons: Sequence[Comparison]) -> list[str]:
    """How the intervals were made, once for each method."""
    found: dict[str, list[str]] = {}
    for c in comparisons:
        if c.method:
            clusters = f", {c.clusters} clusters" if c.clusters else ""
            found.setdefault(f"{c.method} ({c.seeds} seed{'s'[: c.seeds != 1]}{clusters})", []).append(c.metric)
    lines = [f"{', '.join(dict.fromkeys(metrics))}: {how}" for how, metrics in found.items()]
    return [*lines, "Holm over the pairs of one metric; detectable: the smallest difference found with 80% power."]


def protocol_text(protocol: Mapping[str, Any]) -> str:
    """A protocol on one line."""
    return "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in protocol.items()) or "not recorded"


def _width(shown: Table, column: Column) -> int:
    texts = [*column.heading, *(cell_text(row, column) for row in shown.rows)]
    return max(len(text) for text in texts)


def _chunks(shown: Table, columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Columns dealt into tables that fit the width, name and runs columns included."""
    fixed = NAME_WIDTH + max([4, *(len(row.runs) for row in shown.rows)]) + 4
    chunks: list[list[Column]] = []
    used = width + 1
    for column in columns:
        need = _width(shown, column) + 2
        if used + need > width:
            chunks.append([])
            used = fixed
        chunks[-1].append(column)
        used += need
    return chunks


def _rich(caption: str, rows: Sequence[Row], columns: Sequence[Column]) -> RichTable:
    made = RichTable(title=caption, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    made.padding = (0, 2, 0, 0)
    made.add_column("", max_width=NAME_WIDTH, overflow="fold")
    made.add_column("runs", justify="right", no_wrap=True)
    for column in columns:
        made.add_column("\n".join(column.heading).rstrip("\n"), justify="right", no_wrap=True)
    kind = None
    for row in rows:
        if kind is not None and row.kind != kind:
            made.add_section()
        kind = row.kind
        style = {"cell": "", "baseline": "dim", "ceiling": "italic"}[row.kind]
        made.add_row(Text(row.name), row.runs, *(cell_text(row, column) for column in columns), style=style)
    return made


def _rich_verdicts(comparisons: Sequence[Comparison]) -> RichTable:
    first = comparisons[0]
    made = RichTable(
        title=f"{first.metric} against {first.baseline}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    made.padding = (0, 2, 0, 0)
    made.add_column("", max_width=NAME_WIDTH, overflow="fold")
    for heading in COMPARISON_HEADINGS[2:-1]:
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("verdict", overflow="fold")
    for comparison in comparisons:
        *numbers, verdict = comparison_texts(comparison)[2:]
        made.add_row(Text(comparison.cell), *numbers, Text(verdict, style=VERDICT_STYLE[comparison.verdict]))
    return made


def _markdown_table(headings: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join([" --- ", *([" ---: "] * (len(headings) - 1))]) + "|"
    return [line(headings), rule, *(line(cells) for cells in body)]
