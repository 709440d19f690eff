"""A price study drawn: demand, what it brings, and how elastic it is."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from funneltune.decisions.pricing.curve import PER
from funneltune.decisions.pricing.study import Priced, Study
from funneltune.decisions.pricing.support import NONE, OWN
from funneltune.reporting.figures.drawing import FAINT, GRID, INK, SERIES, STYLE

Floats = NDArray[np.float64]
Marks = dict[str, Artist]
"""What the legend says -> what it says it of."""
MOST = 12
"""Items or groups whose elasticities are drawn."""
SQUASHED = 4.0
"""Times that the predicted demand is above or below the true one, from which on the truth has a scale of its own."""


def picture(study: Study) -> Figure:
    """The first item's demand and what it brings at each price; elasticities of all items, or of the groups."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 3.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        marks = _draw_demand(left, study.items[0]) | _draw_value(middle, study, study.items[0])
        marks |= _draw_elasticities(right, study)
        figure.legend(list(marks.values()), list(marks), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure


def _draw_demand(axes: Axes, one: Priced) -> Marks:
    curve, mean = one.curve, PER * one.curve.purchase.mean(axis=0)
    marks: Marks = {}
    marks["95% interval"] = axes.fill_between(
        curve.prices, *(PER * one.demand_ends), color=SERIES[0], alpha=0.15, linewidth=0
    )
    marks["predicted"] = axes.plot(curve.prices, mean, color=SERIES[0])[0]
    own, none = curve.support.level == OWN, curve.support.level == NONE
    if own.any():
        marks["the item had this price"] = axes.plot(
            curve.prices[own], mean[own], "o", color=SERIES[0], markersize=4, linestyle="none"
        )[0]
    if none.any():
        marks["no such price in the log"] = axes.plot(
            curve.prices[none], mean[none], "x", color=SERIES[1], markersize=5, linestyle="none"
        )[0]
    marks |= _outside(axes, one)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("price")
    axes.set_ylabel("purchases per 1,000 impressions")
    axes.set_title(f"Demand: {curve.key}", loc="left", fontsize=9)
    return marks | _draw_truth(axes, one, np.full(len(curve.prices), float(PER)))


def _draw_value(axes: Axes, study: Study, one: Priced) -> Marks:
    curve, goal = one.curve, study.settings.goal
    margin = curve.prices - (one.wanted.cost if goal == "profit" else 0.0)
    axes.fill_between(curve.prices, *(PER * margin * one.demand_ends), color=SERIES[0], alpha=0.15, linewidth=0)
    axes.plot(curve.prices, PER * margin * curve.purchase.mean(axis=0), color=SERIES[0])
    marks = _outside(axes, one)
    if not one.advice.loses:
        marks["best that may be advised"] = axes.plot(
            one.advice.price.value, PER * one.advice.value, "D", color=SERIES[2], markersize=5, linestyle="none"
        )[0]
    axes.set_xlabel("price")
    axes.set_ylabel(f"{goal} per 1,000 impressions")
    axes.set_title(f"What it brings: {goal}", loc="left", fontsize=9)
    return marks | _draw_truth(axes, one, PER * margin)


def _draw_truth(axes: Axes, one: Priced, factor: Floats) -> Marks:
    """The true curve times a factor; on a scale to the right where on the other it would lie flat at the bottom."""
    curve = one.curve
    if curve.truth is None:
        return {}
    true, told = factor * curve.truth.purchase.mean(axis=0), factor * curve.purchase.mean(axis=0)
    highest, own = np.abs(true).max(), np.abs(told).max()
    if highest * SQUASHED >= own and own * SQUASHED >= highest:
        return {"true": axes.plot(curve.prices, true, color=INK, linestyle="--")[0]}
    right = axes.twinx()
    drawn = right.plot(curve.prices, true, color=INK, linestyle="--")[0]
    right.set_ylim(*(np.array(axes.get_ylim()) * highest / own))  # zero lies where it does on the left
    right.set_ylabel("in truth")
    return {"true (scale on the right)": drawn}


def _outside(axes: Axes, one: Priced) -> Marks:
    """The price now, and a shade behind prices that may not be advised."""
    marks: Marks = {"price now": axes.axvline(one.curve.now, color=FAINT, linewidth=0.8, linestyle=":")}
    for at in np.flatnonzero(~one.allowed):
        width = np.gradient(one.curve.prices)[at]
        ends = one.curve.prices[at] - width / 2, one.curve.prices[at] + width / 2
        marks["may not be advised"] = axes.axvspan(*ends, color=GRID, alpha=0.5, linewidth=0)
    return marks


def _draw_elasticities(axes: Axes, study: Study) -> Marks:
    rows: list[tuple[str, float, tuple[float, float], float | None]]
    if study.effects:
        ways = study.effects.items()
        rows = [(name, of.purchase.value, (of.purchase.low, of.purchase.high), None) for name, of in ways]
    elif study.groups:
        rows = [(of.name, of.elasticity, of.ends, of.truth) for of in study.groups[:MOST]]
    else:
        rows = [(one.curve.key, one.point.value, one.point_ends, one.true_point) for one in study.items[:MOST]]
    marks: Marks = {}
    for place, (_, value, ends, true) in enumerate(rows):
        if np.isfinite(ends).all():
            axes.plot(ends, [-place, -place], color=SERIES[0], linewidth=1.2)
        axes.plot(value, -place, "o", color=SERIES[0], markersize=4)
        if true is not None:
            marks["true elasticity"] = axes.plot(true, -place, "|", color=INK, markersize=10, linestyle="none")[0]
    axes.axvline(-1, color=FAINT, linewidth=0.6, linestyle=":")
    axes.set_yticks(-np.arange(len(rows)), [_wrapped(row[0]) for row in rows], fontsize=7)
    axes.set_ylim(-len(rows) + 0.5, 0.5)
    axes.set_xlabel("elasticity of purchases (dotted: -1)")
    told = "of the whole log" if study.effects else "by group" if study.groups else "by item"
    axes.set_title(f"Elasticity {told}", loc="left", fontsize=9)
    return marks


def _wrapped(name: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name, 18))
