"""A figure of a report: what is drawn, what it shows in words, and its numbers as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

F = TypeVar("F", bound=Callable[..., Any])

INK, FAINT, GRID, PAPER = "#1b1f25", "#5b6571", "#d5dbe2", "#fefefe"
SERIES = ("#0072b1", "#d55e01", "#007f5c", "#b5508f", "#8a6d00", "#2e8bc0", "#5b3fa0", "#6b7280")
"""Told apart with any colour vision (after Okabe and Ito 2008) and on white; a page's dark scheme has its own."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GOOD, BAD = "#006d3c", "#b3261f"
THEME = {
    "ink": INK,
    "faint": FAINT,
    "grid": GRID,
    "paper": PAPER,
    "good": GOOD,
    "bad": BAD,
    **{f"series-{n}": colour for n, colour in enumerate(SERIES, 1)},
}
"""What a page calls each colour, so that it can give it another value in the dark."""
WIDTH, HEIGHT = 4.7, 3.2
"""Inches of a panel: at 9 points its texts can be read on a phone."""
STYLE = {"font.family": ["DejaVu Sans", "sans-serif"], "font.size": 9.0, "svg.fonttype": "none"}
in_style: Callable[[F], F] = rc_context(STYLE)
"""Decorates what draws: texts take their font where they are made."""


@dataclass(frozen=True)
class Drawing:
    """One panel. The page shows it beside its numbers; trackers and notebooks take the figure alone."""

    name: str
    """Of the file, and of the element of the page."""
    title: str
    caption: str
    """What is to be seen, in a sentence or two; read aloud in place of the picture."""
    figure: Figure
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The numbers that are drawn."""
    tips: dict[str, str] = field(default_factory=dict)
    """Group of the picture -> what it says under the pointer."""

    def __post_init__(self) -> None:
        """Lay it out once: drawn again, or in another format, it is the same to the last digit."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    @property
    def axes(self) -> Axes:
        """The panel itself, to be added to."""
        return self.figure.axes[0]


@dataclass(frozen=True)
class Group:
    """Drawings that belong together, under one heading."""

    title: str
    drawings: tuple[Drawing, ...]
    lead: str = ""


class Tips:
    """Names parts of a picture, and keeps what each says under the pointer."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, artist: Artist, text: str) -> None:
        """Say `text` under the pointer."""
        name = f"tip-{len(self.texts)}"
        artist.set_gid(name)
        self.texts[name] = text


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the n-th series; the marker alone tells eight apart, and sixty-four with the colour."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[(index + index // len(SERIES)) % len(MARKERS)]}


def panel(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty panel in the house's look."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    axes = figure.subplots()
    dress(axes)
    return figure, axes


def dress(axes: Axes) -> None:
    """Two spines, a light grid, quiet ticks."""
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.6)
    axes.tick_params(colors=FAINT, labelcolor=INK, length=3, width=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=FAINT, linewidth=0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)


def rows_panel(names: Sequence[str], least: float = 1.1) -> tuple[Figure, Axes]:
    """A panel with a line per name, the first on top."""
    figure, axes = panel(height=least + 0.26 * max(len(names), 2))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes
