"""A report's tables for a paper: booktabs, the best in bold, verdicts as marks, what the numbers are in the caption."""

from __future__ import annotations

from funneltune.reporting.columns import Column
from funneltune.reporting.findings import Findings
from funneltune.reporting.table import Row

ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
TRAINED = "parameters.trainable_end"
MARKS = {"better": r"$^{\blacktriangle}$", "worse": r"$^{\triangledown}$"}


def to_latex(findings: Findings) -> str:
    """Quality and cost, a table each. Needs booktabs, amssymb and graphicx."""
    shown = findings.table
    lines = [
        "% \\usepackage{booktabs, amssymb, graphicx}",
        *_table(
            findings,
            "quality",
            "test split" + (", mean \\(\\pm\\) standard deviation over seeds" if shown.has_spread else ""),
        ),
    ]
    if shown.group("cost"):
        lines += ["", *_table(findings, "cost", "cost")]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text as LaTeX sets it."""
    return "".join(ESCAPED.get(letter, letter) for letter in text)


def _table(findings: Findings, group: str, what: str) -> list[str]:
    shown = findings.table
    columns = shown.group(group)
    if group == "quality":  # as papers on fine-tuning have it: how much is trained stands beside how good it is
        columns = (*(column for column in shown.columns if column.key == TRAINED), *columns)
    rows = [row for row in shown.rows if group == "quality" or row.kind == "cell"]
    title = escape_latex(shown.title)
    notes = _notes(findings) if group == "quality" else ""
    heads = [f"\\shortstack{{{_heading(column)}}}" for column in columns]
    lines = [
        "\\begin{table}[t]",
        "  \\centering",
        f"  \\caption{{{title}: {what}.{notes}}}",
        f"  \\label{{tab:{_label(shown.title)}-{group}}}",
        "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"  \\begin{{tabular}}{{l{'r' * len(columns)}}}",
        "    \\toprule",
        "    " + " & ".join(["", *heads]) + r" \\",
        "    \\midrule",
    ]
    kind = None
    for row in rows:
        if kind is not None and row.kind != kind:
            lines.append("    \\midrule")
        kind = row.kind
        cells = [_cell(findings, row, column) for column in columns]
        lines.append("    " + " & ".join([escape_latex(row.label), *cells]) + r" \\")
    return [*lines, "    \\bottomrule", "  \\end{tabular}}", "\\end{table}"]


def _heading(column: Column) -> str:
    first, second = (escape_latex(part) for part in column.heading)
    return f"{first}\\\\{second}" if second else first


def _cell(findings: Findings, row: Row, column: Column) -> str:
    figure = row.figures.get(column.key)
    if figure is None:
        return "--"
    mean = escape_latex(column.text(figure.mean))
    cell = next((cell for cell in findings.cells() if row.kind == "cell" and findings.name(cell) == row.name), None)
    if cell is not None and findings.best(column) == cell:
        mean = f"\\textbf{{{mean}}}"
    if column.group == "quality" and figure.spread is not None:
        mean += f"\\,{{\\scriptsize\\(\\pm\\){figure.spread:.4f}}}".replace("\\)0.", "\\).")
    verdict = findings.verdict(cell, column.key) if cell is not None else None
    return mean + (MARKS.get(verdict.verdict, "") if verdict else "")


def _notes(findings: Findings) -> str:
    best = " Bold: best mean of the cells."
    if findings.baseline is None or not findings.comparisons:
        return best
    name = escape_latex(findings.name(findings.baseline))
    than = f" \\(\\blacktriangle\\) better, \\(\\triangledown\\) worse than {name} (Holm-corrected, 95\\%)"
    return f"{best}{than}; without a mark: no claim."


def _label(title: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in title.lower())
