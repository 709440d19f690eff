"""Pictures of an audit: each group's measures, and what narrowing a gap costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.fairness.audit import AUC, CALIBRATION, EXPOSURE, GAUC, MISSED, NDCG, ONE_IS_FAIR, Audited
from funneltune.reporting.figures.drawing import BAD, FAINT, GRID, INK, SERIES, STYLE

if TYPE_CHECKING:
    from funneltune.decisions.fairness.mitigate import Point
    from funneltune.decisions.fairness.study import Fairness

TITLES = {
    EXPOSURE: "Exposure over merit",
    CALIBRATION: "Predicted over observed",
    AUC: "AUC among its items",
    GAUC: "AUC within requests",
    MISSED: "Positives not on the page",
    NDCG: "NDCG of its pages",
}


def groups_picture(one: Audited, rate: str) -> Figure:
    """A panel for each measure, a line for each group: the value, its 95% interval, red where it is a finding."""
    import matplotlib as mpl

    shown = [name for name in TITLES if name in one.measures]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(shown) + 1.2, 1.3 + 0.24 * len(one.groups.names)), layout="constrained")
        for number, (axes, name) in enumerate(
            zip(np.ravel(figure.subplots(1, len(shown), sharey=True)), shown, strict=True)
        ):
            _draw_groups(axes, one, name)
            axes.set_title(TITLES[name], loc="left", fontsize=9)
            if not number:
                axes.set_yticks(-np.arange(len(one.groups.names)), [one.groups.names[at] for at in one.order])
        figure.supxlabel(f"{rate} by {one.groups.column}; bars: 95% over shoppers; red: stands out", fontsize=8)
    return figure


def _draw_groups(axes: Axes, one: Audited, name: str) -> None:
    told = one.measures[name]
    axes.axvline(1.0 if name in ONE_IS_FAIR else told.whole, color=FAINT, linewidth=0.8, linestyle="--")
    for place, number in enumerate(one.order):
        if not math.isfinite(told.value[number]):
            continue
        colour = BAD if one.said(name, number) else INK
        axes.plot([told.low[number], told.high[number]], [-place, -place], color=colour, linewidth=1.2)
        axes.plot([told.value[number]], [-place], "o", color=colour, markersize=4)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def trade_off_picture(found: Fairness) -> Figure:
    """The gap that is left against what it costs, point by point."""
    import matplotlib as mpl

    assert found.mitigated is not None
    known = found.purchases is not None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0 if known else 4.7, 3.4), layout="constrained")
        panels = np.ravel(figure.subplots(1, 1 + known, squeeze=False))
        _draw_costs(panels[0], found, f"NDCG@{found.rows.top}, change", "ndcg")
        if known:
            _draw_costs(panels[1], found, "expected purchases a page, change", "purchases")
    return figure


def _draw_costs(axes: Axes, found: Fairness, told: str, what: str) -> None:
    assert found.mitigated is not None
    axes.axhline(0.0, color=FAINT, linewidth=0.8, linestyle="--")
    axes.plot([found.mitigated.start], [0.0], "s", color=INK, markersize=5, label="as it is")
    ways = list(dict.fromkeys(point.way for point in found.mitigated.points))
    for number, way in enumerate(ways):
        points: list[Point] = [one for one in found.mitigated.points if one.way == way]
        changes = [getattr(one, what) for one in points]
        at, values = [one.gap for one in points], [one.estimate for one in changes]
        ends = np.array([[of.estimate - of.low, of.high - of.estimate] for of in changes]).T
        axes.errorbar(
            at, values, yerr=ends, fmt="o-", color=SERIES[number], markersize=4, capsize=2, linewidth=1, label=way
        )
        for point, value in zip(points, values, strict=True):
            if not math.isnan(point.weight):
                axes.annotate(
                    f"{point.weight:g}", (point.gap, value), (4, 4), textcoords="offset points", color=FAINT, fontsize=7
                )
    axes.set_xlabel("gap that is left (numbers: weight)")
    axes.set_ylabel(told)
    axes.invert_xaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
