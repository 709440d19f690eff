"""A price study drawn: demand, what it brings, and how elastic it is."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.pricing.curve import PER
from funneltune.decisions.pricing.study import Priced, Study
from funneltune.decisions.pricing.support import NONE, OWN
from funneltune.reporting.figures.drawing import FAINT, GRID, INK, SERIES, STYLE

MOST = 12
"""Items or groups whose elasticities are drawn."""


def picture(study: Study) -> Figure:
    """The first item's demand and what it brings at each price; elasticities of all items, or of the groups."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.4), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        _draw_demand(left, study.items[0])
        _draw_value(middle, study, study.items[0])
        _draw_elasticities(right, study)
    return figure


def _draw_demand(axes: Axes, one: Priced) -> None:
    curve, mean = one.curve, PER * one.curve.purchase.mean(axis=0)
    axes.fill_between(curve.prices, *(PER * one.demand_ends), color=SERIES[0], alpha=0.15, linewidth=0)
    axes.plot(curve.prices, mean, color=SERIES[0], label="predicted (95%)")
    own, none = curve.support.level == OWN, curve.support.level == NONE
    axes.plot(curve.prices[own], mean[own], "o", color=SERIES[0], markersize=4, label="the item had it")
    axes.plot(curve.prices[none], mean[none], "x", color=SERIES[1], markersize=5, label="not in the log")
    if curve.truth is not None:
        axes.plot(curve.prices, PER * curve.truth.purchase.mean(axis=0), color=INK, linestyle="--", label="true")
    _now(axes, one)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("price")
    axes.set_ylabel("purchases per 1,000 impressions")
    axes.legend(frameon=False, fontsize=7)
    axes.set_title(f"Demand: {curve.key}", loc="left", fontsize=9)


def _draw_value(axes: Axes, study: Study, one: Priced) -> None:
    curve, goal = one.curve, study.settings.goal
    margin = curve.prices - (one.wanted.cost if goal == "profit" else 0.0)
    axes.fill_between(curve.prices, *(PER * margin * one.demand_ends), color=SERIES[0], alpha=0.15, linewidth=0)
    axes.plot(curve.prices, PER * margin * curve.purchase.mean(axis=0), color=SERIES[0], label="predicted")
    if curve.truth is not None:
        axes.plot(
            curve.prices, PER * margin * curve.truth.purchase.mean(axis=0), color=INK, linestyle="--", label="true"
        )
    _now(axes, one)
    axes.plot(one.advice.price.value, PER * one.advice.value, "D", color=SERIES[2], markersize=5, label="best allowed")
    axes.set_xlabel("price")
    axes.set_ylabel(f"{goal} per 1,000 impressions")
    axes.legend(frameon=False, fontsize=7)
    axes.set_title(f"What it brings: {goal}", loc="left", fontsize=9)


def _now(axes: Axes, one: Priced) -> None:
    axes.axvline(one.curve.now, color=FAINT, linewidth=0.8, linestyle=":", label="now")
    outside = ~one.allowed
    for at in np.flatnonzero(outside):
        width = np.gradient(one.curve.prices)[at]
        axes.axvspan(
            one.curve.prices[at] - width / 2, one.curve.prices[at] + width / 2, color=GRID, alpha=0.5, linewidth=0
        )


def _draw_elasticities(axes: Axes, study: Study) -> None:
    rows: list[tuple[str, float, tuple[float, float], float | None]]
    if study.effects:
        ways = study.effects.items()
        rows = [(name, of.purchase.value, (of.purchase.low, of.purchase.high), None) for name, of in ways]
    elif study.groups:
        rows = [(of.name, of.elasticity, of.ends, of.truth) for of in study.groups[:MOST]]
    else:
        rows = [(one.curve.key, one.point.value, one.point_ends, one.true_point) for one in study.items[:MOST]]
    for place, (_, value, ends, true) in enumerate(rows):
        if np.isfinite(ends).all():
            axes.plot(ends, [-place, -place], color=SERIES[0], linewidth=1.2)
        axes.plot(value, -place, "o", color=SERIES[0], markersize=4, label=None if place else "predicted")
        if true is not None:
            axes.plot(true, -place, "|", color=INK, markersize=10, label=None if place else "true")
    axes.axvline(-1, color=FAINT, linewidth=0.6, linestyle=":")
    axes.set_yticks(-np.arange(len(rows)), [_wrapped(row[0]) for row in rows], fontsize=7)
    axes.set_ylim(-len(rows) + 0.5, 0.5)
    axes.set_xlabel("elasticity of purchases (dotted: -1)")
    if rows[0][3] is not None:
        axes.legend(frameon=False, fontsize=7)
    told = "of the whole log" if study.effects else "by group" if study.groups else "by item"
    axes.set_title(f"Elasticity {told}", loc="left", fontsize=9)


def _wrapped(name: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name, 18))
