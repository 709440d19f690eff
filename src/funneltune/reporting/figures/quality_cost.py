"""Quality against cost: each cell a point, and the line of those that nothing beats in both (Pareto)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from funneltune.metrics.comparison import higher_is_better
from funneltune.reporting.columns import Column
from funneltune.reporting.figures.drawing import FAINT, INK, Drawing, Tips, in_style, look, panel
from funneltune.reporting.findings import Findings

COSTS = {
    "parameters.trainable_end": ("trainable parameters", "trainable parameters at the end of training"),
    "cost.step_milliseconds_median": ("step time", "milliseconds a step (median)"),
    "cost.peak_memory_bytes": ("memory", "peak memory, MB"),
    "cost.saved_bytes": ("saved size", "saved weights, MB"),
}
LOG_FROM = 4.0
"""Largest over smallest cost from which on the axis is logarithmic."""
ROOM = 0.25
"""What the frame leaves above and below the means, as a share of their range; longer bars run out of it."""
PLACES = ((7, 5), (7, -11), (-7, 5), (-7, -11), (0, 12), (0, -18), (12, 14), (12, -20), (-12, 14), (-12, -20))
"""Where a point's name may stand beside it, in points, the best first."""
Box = tuple[float, float, float, float]
LETTER, LINE = 5.2, 11.0
"""Width of a letter and height of a line at 9 points."""


@dataclass(frozen=True)
class Point:
    """A cell's cost and quality."""

    cell: str
    cost: float
    quality: float
    reach: float | None


@in_style
def quality_against_cost(findings: Findings) -> list[Drawing]:
    """A panel for each cost that at least two cells have and that is not the same for all."""
    made = []
    for key, (word, label) in COSTS.items():
        cost = next((column for column in findings.table.group("cost") if column.key == key), None)
        found = points(findings, key) if cost is not None else []
        if len(found) > 1 and len({point.cost for point in found}) > 1:
            assert cost is not None
            made.append(_draw(findings, found, cost, word, label))
    return made


def points(findings: Findings, cost: str) -> list[Point]:
    """The cells that have both a cost and the metric that the report is about."""
    column = findings.column
    found = []
    for cell in findings.cells() if column else ():
        assert column is not None
        price, quality = findings.figure(cell, cost), findings.figure(cell, column.key)
        if price is not None and quality is not None:
            found.append(Point(cell, price.mean, quality.mean, quality.reach))
    return found


def front(found: Sequence[Point], more_is_better: bool) -> list[Point]:
    """The points that no other beats, cheapest first: none is both at most as dear and better, or cheaper and as good.

    >>> a, b, c = Point("a", 1, 0.6, None), Point("b", 2, 0.5, None), Point("c", 3, 0.7, None)
    >>> [point.cell for point in front([c, b, a], True)]
    ['a', 'c']
    """
    sign = 1 if more_is_better else -1
    kept: list[Point] = []
    for point in sorted(found, key=lambda p: (p.cost, -sign * p.quality)):
        if not kept or sign * point.quality > sign * kept[-1].quality:
            kept.append(point)
    return kept


def _draw(findings: Findings, found: list[Point], cost: Column, word: str, label: str) -> Drawing:
    column = findings.column
    assert column is not None
    scale = 1e6 if cost.style == "megabytes" else 1.0
    figure, axes = panel()
    tips = Tips()
    line = front(found, higher_is_better(column.key))
    if max(p.cost for p in found) >= LOG_FROM * min(p.cost for p in found) > 0:
        axes.set_xscale("log")
    axes.step(
        [p.cost / scale for p in line], [p.quality for p in line], where="post", color=FAINT, linewidth=1, zorder=1
    )
    order = findings.cells()
    for point in found:
        style = look(order.index(point.cell))
        drawn = axes.errorbar(
            point.cost / scale,
            point.quality,
            yerr=point.reach,
            **style,
            markersize=7,
            linewidth=0,
            elinewidth=1,
            markeredgecolor=INK if point in line else style["color"],
            markeredgewidth=0.9,
        )
        tips.add(drawn.lines[0], f"{findings.name(point.cell)}: {column.text(point.quality)}, {cost.text(point.cost)}")
    axes.margins(x=0.16)
    low, high = min(p.quality for p in found), max(p.quality for p in found)
    room = ROOM * ((high - low) or abs(high) or 1.0)
    axes.set_ylim(low - room, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(label)
    axes.set_ylabel(column.title)
    _name(axes, [(findings.name(p.cell), p.cost / scale, p.quality) for p in found])
    on_it = ", ".join(findings.name(p.cell) for p in line)
    return Drawing(
        f"cost-{word.replace(' ', '-')}",
        f"{column.title} against {word}",
        f"On the front, where nothing is both cheaper and better: {on_it}. Bars: 95% interval over seeds.",
        figure,
        ("", label, column.title, "on the front"),
        tuple(
            (
                findings.name(p.cell),
                cost.text(p.cost),
                column.text(p.quality, findings.figure(p.cell, column.key).spread),  # type: ignore[union-attr]
                "yes" if p in line else "",
            )
            for p in found
        ),
        tips.texts,
    )


def _name(axes: Axes, named: Sequence[tuple[str, float, float]]) -> None:
    """Write each name beside its point, where it covers the least of what is there already."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    scale = 72 / axes.figure.dpi
    frame = axes.get_window_extent()
    spots = [axes.transData.transform((x, y)) * scale for _, x, y in named]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    edges = (frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    for (name, x, y), (left, bottom) in zip(named, spots, strict=True):
        width = LETTER * len(name)

        boxes = {place: _box((left, bottom), place, width) for place in PLACES}
        covered = {
            place: 50 * _outside(box, edges) + sum(_shared(box, other) for other in taken) + 0.1 * rank
            for rank, (place, box) in enumerate(boxes.items())
        }
        place = min(covered, key=lambda place: covered[place])
        taken.append(boxes[place])
        side = "right" if place[0] < 0 else "center" if place[0] == 0 else "left"
        axes.annotate(name, (x, y), place, textcoords="offset points", ha=side, color=INK)


def _box(spot: Sequence[float], place: tuple[int, int], width: float) -> Box:
    """Left, bottom, right and top of a name of that width beside a spot."""
    start = spot[0] + place[0] - (width if place[0] < 0 else width / 2 if place[0] == 0 else 0)
    return (start, spot[1] + place[1] - 2, start + width, spot[1] + place[1] - 2 + LINE)


def _shared(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _outside(one: Box, frame: Box) -> float:
    """How far a box runs out of the frame."""
    over = (frame[0] - one[0], frame[1] - one[1], one[2] - frame[2], one[3] - frame[3])
    return sum(max(0.0, each) for each in over)
