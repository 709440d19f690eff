"""A metric along an axis of numbers (a correlation, a share, a rank): one line for each value of the other axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from funneltune.reporting.columns import Column
from funneltune.reporting.figures.drawing import MARKERS, Drawing, Tips, in_style, look, panel
from funneltune.reporting.findings import Findings
from funneltune.reporting.table import Figure

ENOUGH = 3
"""Values without which an axis is no line."""
LOG_FROM = 20.0
"""Largest over smallest value from which on the axis is logarithmic."""
Line = list[tuple[float, Figure]]


@in_style
def along_axis(findings: Findings) -> list[Drawing]:
    """A panel per axis of numbers and metric: the cells' means with their 95% intervals over seeds."""
    cells = {cell: found for cell in findings.cells() if (found := assigned(cell)) is not None}
    if len(cells) < len(findings.cells()):
        return []
    drawings = []
    for axis in numeric_axes(list(cells.values())):
        for column in findings.columns:
            lines = _lines(findings, cells, axis, column)
            if lines:
                drawings.append(_draw(lines, axis, column))
    return drawings


def assigned(cell: str) -> dict[str, str] | None:
    """Axis -> value of a cell, from its name; None where the name does not tell.

    >>> assigned("head=mmoe,data.source.correlation=0.5")
    {'head': 'mmoe', 'data.source.correlation': '0.5'}
    """
    parts = [part.partition("=") for part in cell.split(",")]
    return {axis: value for axis, _, value in parts} if all(equals for _, equals, _ in parts) else None


def numeric_axes(cells: Sequence[Mapping[str, str]]) -> list[str]:
    """The axes whose values are all numbers, enough of them for a line."""
    found = []
    for axis in cells[0] if cells else ():
        values = {_number(cell.get(axis, "")) for cell in cells}
        if None not in values and len(values) >= ENOUGH:
            found.append(axis)
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _lines(findings: Findings, cells: Mapping[str, Mapping[str, str]], axis: str, column: Column) -> dict[str, Line]:
    """Name -> the points of a line, ascending; lines of fewer than `ENOUGH` points are left out."""
    lines: dict[str, Line] = {}
    for cell, values in cells.items():
        figure = findings.figure(cell, column.key)
        if figure is not None:
            name = ", ".join(value.replace("_", " ") for key, value in values.items() if key != axis)
            lines.setdefault(name, []).append((float(values[axis]), figure))
    kept = {name: sorted(points, key=lambda point: point[0]) for name, points in lines.items()}
    kept = {name: points for name, points in kept.items() if len(points) >= ENOUGH}
    return kept if len(kept) <= len(MARKERS) else {}


def _draw(lines: Mapping[str, Line], axis: str, column: Column) -> Drawing:
    figure, axes = panel()
    tips = Tips()
    word = axis.rpartition(".")[2].replace("_", " ")
    places = sorted({place for points in lines.values() for place, _ in points})
    for index, (name, points) in enumerate(lines.items()):
        style = look(index)
        at = [place for place, _ in points]
        low, high = ([f.mean + sign * (f.reach or 0.0) for _, f in points] for sign in (-1, 1))
        axes.fill_between(at, low, high, color=style["color"], alpha=0.15, linewidth=0)
        (drawn,) = axes.plot(at, [f.mean for _, f in points], **style, markersize=5, linewidth=1.4)
        if name:
            drawn.set_label(name)
        tips.add(drawn, ", ".join([name or column.title, *(f"{x:g}: {column.text(f.mean)}" for x, f in points)]))
    if places[0] > 0 and places[-1] >= LOG_FROM * places[0]:
        axes.set_xscale("log")
    axes.set_xlabel(word)
    axes.set_ylabel(column.title)
    if any(lines):
        axes.legend(frameon=False, fontsize=8)
    shown = {name: {place: _text(f, column) for place, f in points} for name, points in lines.items()}
    return Drawing(
        re.sub(r"[^a-z0-9]+", "-", f"along-{axis}-{column.key}".lower()).strip("-"),
        f"{column.title} along {word}",
        "Mean over seeds; the band is its 95% interval.",
        figure,
        ("", *(f"{place:g}" for place in places)),
        tuple((name, *(texts.get(place, "-") for place in places)) for name, texts in shown.items()),
        tips.texts,
    )


def _text(figure: Figure, column: Column) -> str:
    return column.text(figure.mean) + (f" ±{figure.reach:.4f}" if figure.reach is not None else "")
