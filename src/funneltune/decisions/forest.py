"""Estimates of one value beside one another, as a picture."""

from __future__ import annotations

from pathlib import Path

from funneltune.records import DecisionRecord
from funneltune.reporting.figures import Drawing, save
from funneltune.reporting.figures.drawing import FAINT, in_style, look, panel


@in_style
def draw_estimates(record: DecisionRecord, folder: Path) -> Path:
    """A policy's value by each estimator with its 95% interval, the log's own and the truth, into a folder."""
    figure, axes = panel()
    names = ["the log's own", *record.settings["estimators"]]
    rows = []
    for place, name in enumerate(names):
        told = record.numbers[name]
        value, low, high = told["value"], told["low"], told["high"]
        style = look(0 if place else 1)
        axes.errorbar(
            [value],
            [-place],
            xerr=[[value - low], [high - value]],
            fmt=style["marker"],
            color=style["color"],
            capsize=3,
        )
        rows.append((name, f"{value:.5f}", f"{low:.5f}", f"{high:.5f}"))
    if truth := record.numbers.get("truth"):
        axes.axvline(truth["value"], color=FAINT, linestyle="--", linewidth=1.0)
        rows.append(("truth", f"{truth['value']:.5f}", "", ""))
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.set_xlabel(f"{record.settings['reward']} per decision")
    caption = f"What policy {record.settings['policy']} would have earned, by each estimator, with 95% intervals"
    caption += "; the dashed line is the truth." if truth else "."
    return save(
        Drawing("estimates", "Estimates", caption, figure, ("estimator", "value", "low", "high"), tuple(rows)),
        folder,
        "png",
    )
