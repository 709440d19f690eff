"""Do predicted probabilities come true? Curves of predicted against observed rates, as they are and scaled."""

from __future__ import annotations

from typing import Any

import numpy as np

from funneltune.reporting.columns import shown
from funneltune.reporting.figures.drawing import FAINT, Drawing, Tips, in_style, look, panel
from funneltune.reporting.findings import Findings

METHODS = ("none", "temperature", "platt", "isotonic")
WORDS = {"none": "as predicted", "temperature": "temperature", "platt": "Platt", "isotonic": "isotonic"}


@in_style
def reliability(findings: Findings) -> list[Drawing]:
    """A panel per rate and way of scaling: predicted against observed in bins of equal mass, a line per cell."""
    rates = dict.fromkeys(
        rate for cell in findings.cells() for run in findings.runs(cell) for rate in run.record.calibration
    )
    drawings = (_draw(findings, rate, method) for rate in rates for method in METHODS)
    return [drawing for drawing in drawings if drawing is not None]


def scaled(findings: Findings, cell: str, rate: str, method: str) -> list[dict[str, Any]]:
    """What each of a cell's runs measured on its test rows with one way of scaling."""
    entries = [run.record.calibration.get(rate, {}).get("methods", {}) for run in findings.runs(cell)]
    return [entry[method]["test"] for entry in entries if "test" in entry.get(method, {})]


def _draw(findings: Findings, rate: str, method: str) -> Drawing | None:
    figure, axes = panel()
    tips, rows, largest = Tips(), [], 0.0
    for index, cell in enumerate(findings.cells()):
        tests = scaled(findings, cell, rate, method)
        curves = [test["curve"] for test in tests if test.get("curve")]
        if not curves:
            continue
        bins = min(len(curve["predicted"]) for curve in curves)
        predicted, observed = (
            np.mean([curve[key][:bins] for curve in curves], axis=0) for key in ("predicted", "observed")
        )
        largest = max(largest, float(predicted.max()), float(observed.max()))
        (line,) = axes.plot(predicted, observed, **look(index), markersize=4, linewidth=1, label=findings.name(cell))
        tips.add(line, findings.name(cell))
        means = [float(np.mean([test[key] for test in tests])) for key in ("ece", "log_loss")]
        rows.append((findings.name(cell), *(f"{mean:.4f}" for mean in means)))
    if not rows:
        return None
    axes.plot([0, largest], [0, largest], color=FAINT, linewidth=1, linestyle="--")
    axes.set_xlabel(f"predicted {shown(rate)}")
    axes.set_ylabel(f"observed {shown(rate)}")
    axes.legend(frameon=False, fontsize=8)
    return Drawing(
        f"calibration-{rate}-{method}",
        f"{shown(rate)}: {'probabilities as predicted' if method == 'none' else f'after {WORDS[method]} scaling'}",
        "On the dashed line what is predicted comes true; above it more happens. Test rows, bins of equal mass, "
        + ("mean over seeds." if method == "none" else "mean over seeds; fitted on validation rows alone."),
        figure,
        ("", "ECE", "log loss"),
        tuple(rows),
        tips.texts,
    )
