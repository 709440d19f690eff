"""An uplift study drawn: the Qini curves, and predicted against observed uplift."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.uplift.study import RESPONSE, RUN, Arm, Studied
from funneltune.reporting.figures.drawing import FAINT, INK, SERIES, STYLE

SHORT = {"t": "T", "x": "X", "dr": "DR", RUN: "the run (S)", RESPONSE: "response"}


def picture(studied: Studied) -> Figure:
    """A row per arm."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.4 * len(studied.arms)), layout="constrained")
        panels = figure.subplots(len(studied.arms), 2, squeeze=False)
        for arm, (left, right) in zip(studied.arms, panels, strict=True):
            _draw_curves(left, studied, arm)
            _draw_deciles(right, arm)
    return figure


def _draw_curves(axes: Axes, studied: Studied, arm: Arm) -> None:
    for number, (name, judged) in enumerate(arm.judged.items()):
        share, gained, low, high = judged.curve
        colour = FAINT if name == RESPONSE else SERIES[number]
        if name == next(iter(arm.judged)) or name == "dr":
            axes.fill_between(share, low, high, color=colour, alpha=0.12, linewidth=0)
        line = "--" if name == RESPONSE else "-"
        axes.plot(share, gained, color=colour, linestyle=line, linewidth=1.4, label=SHORT[name])
    end = next(iter(arm.judged.values())).curve[1][-1]
    axes.plot([0, 1], [0, end], color=INK, linewidth=0.8, linestyle=":", label="random")
    axes.set_xlabel("share treated, the highest predicted uplift first")
    axes.set_ylabel(f"further {studied.outcome} per person")
    axes.set_title(f"Qini curve: {arm.name}", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7, loc="lower right")


def _draw_deciles(axes: Axes, arm: Arm) -> None:
    name = "dr" if "dr" in arm.judged else next(iter(arm.judged))
    groups = [one for one in arm.judged[name].deciles if np.isfinite(one.observed)]
    at = np.array([one.predicted for one in groups])
    seen = np.array([one.observed for one in groups])
    reach = np.array([(one.observed - one.low, one.high - one.observed) for one in groups]).T
    axes.errorbar(at, seen, yerr=reach, fmt="o", color=SERIES[0], markersize=4, linewidth=1, capsize=2)
    ends = np.array([at.min(), at.max()])
    axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":", label="as predicted")
    axes.axhline(0, color=FAINT, linewidth=0.6)
    axes.set_xlabel(f"predicted uplift ({SHORT[name]}), by decile")
    axes.set_ylabel("observed, 95%")
    axes.set_title("Calibration", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7, loc="upper left")
