"""A sentiment study drawn: the run against words alone, and what is predicted of groups against what was given."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.sentiment.study import MEASURES, Studied
from funneltune.reporting.figures.drawing import FAINT, GRID, INK, SERIES, STYLE


def picture(studied: Studied) -> Figure:
    """Differences from the baselines on the left, groups on the right."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_readers(left, studied)
        _draw_groups(right, studied)
    return figure


def _draw_readers(axes: Axes, studied: Studied) -> None:
    names = list(studied.measures)
    for number, name in enumerate(names):
        for place, key in enumerate(MEASURES):
            one = studied.measures[name][key]
            at = place + (number - (len(names) - 1) / 2) * 0.22
            reach = [[one.value - one.low], [one.high - one.value]]
            label = name if not place else None
            axes.errorbar(
                at, one.value, yerr=reach, fmt="o", color=SERIES[number], capsize=2, markersize=4, label=label
            )
    axes.set_xticks(range(len(MEASURES)), ["recommended: AUC", "rating: kappa", "rating: MAE\n(low is good)"])
    axes.set_ylim(0, 1)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_title(f"Who reads better ({len(studied.rows):,} reviews)", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7, loc="lower left")


def _draw_groups(axes: Axes, studied: Studied) -> None:
    ways = list(dict.fromkeys(group.by for group in studied.groups))
    for number, by in enumerate(ways):
        groups = [group for group in studied.groups if group.by == by]
        at = np.array([group.predicted for group in groups])
        seen = np.array([group.rated for group in groups])
        size = np.sqrt([group.reviews for group in groups])
        axes.scatter(at, seen, s=3 * size, color=SERIES[number], alpha=0.7, linewidth=0, label=by)
    if studied.groups:
        ends = [min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])]
        axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
        axes.legend(frameon=False, fontsize=7, loc="upper left")
    axes.axhline(float(studied.stars.mean()), color=FAINT, linewidth=0.6)
    axes.set_xlabel("mean predicted rating")
    axes.set_ylabel("mean rating given")
    axes.set_title("Groups of reviews", loc="left", fontsize=9)
