"""The picture of personas: the map, how many there are, what tells shoppers apart."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.personas.study import Found
from funneltune.reporting.figures.drawing import FAINT, INK, SERIES, STYLE, dress, look

MANY = 1500
"""Shoppers on the map from which on dots are small."""


def picture(found: Found) -> Figure:
    """Three panels."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 3.8), layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.35, 1, 0.9))
        for axes in (left, middle, right):
            dress(axes)
        _draw_map(left, found)
        _draw_numbers(middle, found)
        _draw_blocks(right, found)
    return figure


def _draw_map(axes: Axes, found: Found) -> None:
    labels, size = found.grouping.labels, 12 if len(found.place) < MANY else 3
    rest = labels < 0
    if rest.any():
        told = "no persona" if found.grouping.k else "shoppers"
        axes.scatter(
            found.place[rest, 0], found.place[rest, 1], s=size, color=FAINT, alpha=0.5, linewidths=0, label=told
        )
    for number in range(found.grouping.k):
        mine = found.place[labels == number]
        told = f"{number + 1} ({len(mine):,})"
        axes.scatter(mine[:, 0], mine[:, 1], s=size, alpha=0.75, linewidths=0, label=told, **look(number))
        axes.annotate(str(number + 1), np.median(mine, axis=0), color=INK, fontsize=12, fontweight="bold", ha="center")
    way = "UMAP" if found.settings.map == "umap" else "component"
    axes.set(xlabel=f"{way} 1", ylabel=f"{way} 2", xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.set_title("Shoppers", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.08), ncols=5, handletextpad=0.1)


def _draw_numbers(axes: Axes, found: Found) -> None:
    tried = found.grouping.tried
    axes.set_title("How many? Solid: these shoppers", loc="left", fontsize=9)
    if not tried:
        axes.text(0.5, 0.5, "nothing to group by", ha="center", transform=axes.transAxes, color=FAINT)
        axes.set(xticks=[], yticks=[])
        return
    sizes = [one.size for one in tried]
    for number, (name, ours, theirs) in enumerate(
        (("silhouette", "silhouette", "silhouette_null"), ("stability", "stability", "stability_null"))
    ):
        colour = SERIES[number]
        axes.plot(sizes, [getattr(one, ours) for one in tried], color=colour, marker="os"[number], ms=4, label=name)
        axes.plot(sizes, [getattr(one, theirs) for one in tried], color=colour, linestyle="--", label="without groups")
    if found.grouping.chosen is not None:
        axes.axvline(found.grouping.chosen.size, color=INK, linewidth=0.8, linestyle=":")
    axes.set_ylim(0, 1.2)
    axes.set_xticks(sizes)
    axes.set_xlabel("personas" if found.settings.method == "kmeans" else "least size of a persona")
    axes.legend(frameon=False, fontsize=7, loc="upper right", ncols=2)


def _draw_blocks(axes: Axes, found: Found) -> None:
    names = [block.name for block in found.blocks]
    at = -np.arange(len(names))
    axes.barh(at, [max(block.correlation, 0.0) for block in found.blocks], color=SERIES[0], height=0.6)
    for place, block in zip(at, found.blocks, strict=True):
        axes.plot([block.by_chance] * 2, [place - 0.4, place + 0.4], color=SERIES[1], linewidth=1.5)
    axes.set_yticks(at, names)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("agreement of halves (line: by chance)")
    axes.set_title("What tells shoppers apart", loc="left", fontsize=9)
