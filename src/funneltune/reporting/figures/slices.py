"""Where a method gains: quality on parts of the test rows (new items, short queries, prices), as a heat map."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from funneltune.metrics.comparison import higher_is_better
from funneltune.records import number
from funneltune.reporting.columns import named_column
from funneltune.reporting.figures.drawing import INK, PAPER, Drawing, in_style, panel
from funneltune.reporting.findings import Findings

SLICED = re.compile(r"(?P<metric>[^\[]+)\[(?P<slice>[^=\]]+)=(?P<value>[^\]]*)\]")
ENOUGH = 10
"""Positives, and negatives, without which a slice's AUC says nothing."""
MOST_CELLS = 12
LEAST_REACH = 0.01
"""Difference that the colours span at least, so that noise does not look like a finding."""


@in_style
def slices(findings: Findings) -> list[Drawing]:
    """A heat map per rate whose AUC was cut by slices: rows are slices, columns cells."""
    keys = {
        key: found["metric"]
        for cell in findings.cells()
        for run in findings.runs(cell)
        for key in run.record.metrics.get("test", {})
        if (found := SLICED.fullmatch(key)) and found["metric"].endswith("/auc")
    }
    cells = findings.cells()[:MOST_CELLS]
    drawings = []
    for metric in dict.fromkeys(keys.values()):
        rows = [(metric, "all rows"), *((key, _said(key)) for key, of in keys.items() if of == metric)]
        known = [(key, said) for key, said in rows if _enough(findings, key)]
        if len(known) > 1:
            drawings.append(_draw(findings, metric, known, cells))
    return drawings


def mean_of(findings: Findings, cell: str, key: str) -> float:
    """A cell's mean of a metric over its runs; NaN where none has it."""
    values = [value for run in findings.runs(cell) if (value := run.record.value(key)) is not None]
    return float(np.mean(values)) if values else float("nan")


def _draw(findings: Findings, metric: str, rows: list[tuple[str, str]], cells: list[str]) -> Drawing:
    title = named_column(metric).title
    values = np.array([[mean_of(findings, cell, key) for cell in cells] for key, _ in rows])
    reference = findings.baseline if findings.baseline in cells else None
    against = values[:, [cells.index(reference)]] if reference is not None else values[:1]
    apart = (values - against) * (1 if higher_is_better(metric) else -1)
    reach = max(LEAST_REACH, float(np.nanpercentile(np.abs(apart), 95)))
    figure, axes = panel(width=2.2 + 0.62 * max(len(cells), 3), height=1.3 + 0.25 * len(rows))
    axes.grid(visible=False)
    axes.pcolormesh(apart, cmap="PuOr", vmin=-reach, vmax=reach, edgecolor=PAPER, linewidth=1)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            shade = "white" if abs(apart[row, column]) > 0.6 * reach else "black"
            text = f"{value:.3f}".lstrip("0")
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=shade, fontsize=8)
    axes.set_xticks(np.arange(len(cells)) + 0.5, [findings.name(cell) for cell in cells], rotation=35, ha="right")
    axes.set_yticks(np.arange(len(rows)) + 0.5, [said for _, said in rows])
    axes.axhline(1, color=INK, linewidth=1)
    axes.invert_yaxis()
    than = f"{findings.name(reference)} on the same rows" if reference is not None else "the cell on all rows"
    counts = {key: _entry(findings, key).get("protocol", {}) for key, _ in rows}
    return Drawing(
        f"slices-{re.sub(r'[^a-z0-9]+', '-', metric)}",
        f"{title} by slice",
        f"Purple: better than {than}, orange: worse. Means over seeds; a slice with few positives is noise.",
        figure,
        ("", "rows", "positives", *(findings.name(cell) for cell in cells)),
        tuple(
            (
                said,
                f"{counts[key].get('n', 0):,}",
                f"{counts[key].get('positives', 0):,}",
                *(f"{value:.4f}" if np.isfinite(value) else "-" for value in values[place]),
            )
            for place, (key, said) in enumerate(rows)
        ),
    )


def _said(key: str) -> str:
    found = SLICED.fullmatch(key)
    assert found is not None
    name, value = found["slice"].replace("_", " "), found["value"]
    return f"{name}: {({'0': 'no', '1': 'yes'}.get(value, value)) if name.endswith('cold') else value}"


def _entry(findings: Findings, key: str) -> Mapping[str, Any]:
    runs = (run for cell in findings.cells() for run in findings.runs(cell))
    found = (run.record.metrics.get("test", {}).get(key) for run in runs)
    return next((entry for entry in found if entry), {})


def _enough(findings: Findings, key: str) -> bool:
    entry = _entry(findings, key)
    protocol = entry.get("protocol", {})
    positives, rows = protocol.get("positives", 0), protocol.get("n", 0)
    return number(entry) is not None and min(positives, rows - positives) >= ENOUGH
