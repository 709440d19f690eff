"""What changes while a run trains: losses, validation quality, and how the tasks' gradients meet."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from funneltune.reporting.columns import named_column
from funneltune.reporting.figures.drawing import INK, Drawing, Tips, in_style, look, panel
from funneltune.reporting.findings import Findings
from funneltune.reporting.gradients import COSINE
from funneltune.reporting.history import curve, names

ENOUGH = 3
"""Points without which there is no curve."""
SMOOTHED = 0.15
"""Share of a training curve that each of its points is the mean of."""


@in_style
def learning_curves(findings: Findings) -> list[Drawing]:
    """Training loss, and what was validated more than twice: the metrics that the report is about."""
    wanted = ["train/loss", *(f"validation/{column.key}" for column in findings.columns)]
    return [drawing for name in wanted if (drawing := _curves(findings, name)) is not None]


@in_style
def gradient_curves(findings: Findings) -> list[Drawing]:
    """Per pair of tasks: the cosine of their gradients over the steps that measured it."""
    found = dict.fromkeys(
        name
        for cell in findings.cells()
        for run in findings.runs(cell)
        for name in names(run)
        if COSINE.fullmatch(name)
    )
    return [drawing for name in found if (drawing := _curves(findings, name)) is not None]


def _curves(findings: Findings, name: str) -> Drawing | None:
    figure, axes = panel()
    tips, rows = Tips(), []
    noisy = not name.startswith("validation/")
    for index, cell in enumerate(findings.cells()):
        found = [curve(run, name) for run in findings.runs(cell)]
        found = [(steps, values) for steps, values in found if len(steps) >= ENOUGH]
        if not found:
            continue
        style = look(index)
        for steps, values in found:
            axes.plot(steps, smooth(values) if noisy else values, color=style["color"], linewidth=0.5, alpha=0.35)
        steps = min((steps for steps, _ in found), key=len)
        mean = np.mean([np.interp(steps, at, smooth(v) if noisy else v) for at, v in found], axis=0)
        (line,) = axes.plot(steps, mean, **style, markevery=max(1, len(steps) // 6), markersize=4, linewidth=1.4)
        line.set_label(findings.name(cell))
        tips.add(line, findings.name(cell))
        parts = [float(mean[int(share * (len(mean) - 1))]) for share in (0, 0.25, 0.5, 0.75, 1)]
        rows.append((findings.name(cell), *(f"{value:.4f}" for value in parts)))
    if not rows:
        return None
    title = _title(name)
    if COSINE.fullmatch(name):
        axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("step")
    axes.set_ylabel(title)
    axes.legend(frameon=False, fontsize=8)
    return Drawing(
        f"curve-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}",
        f"{title} over the steps",
        "Thick: mean of a cell's runs; thin: each run" + ("; both smoothed." if noisy else "."),
        figure,
        ("", "start", "a quarter", "half", "three quarters", "end"),
        tuple(rows),
        tips.texts,
    )


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A running mean over a share of the curve, shorter at its ends.

    >>> smooth(np.arange(5.0)).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    half = int(SMOOTHED * len(values) / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    here = np.arange(len(values))
    reach = np.minimum(np.minimum(half, here), len(values) - 1 - here)
    smoothed: NDArray[np.float64] = (sums[here + reach + 1] - sums[here - reach]) / (2 * reach + 1)
    return smoothed


def _title(name: str) -> str:
    if found := COSINE.fullmatch(name):
        return f"cosine of gradients, {found['pair'].replace(',', ', ')}"
    if name.startswith("validation/"):
        return f"validation {named_column(name.removeprefix('validation/')).title}"
    return "training loss" if name == "train/loss" else name
