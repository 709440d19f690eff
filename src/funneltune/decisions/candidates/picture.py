"""Ways of finding items, as a picture."""

from __future__ import annotations

from pathlib import Path

from funneltune.decisions.candidates.measure import CURVE
from funneltune.records import DecisionRecord
from funneltune.reporting.figures import Drawing, save
from funneltune.reporting.figures.drawing import in_style, look, panel


@in_style
def draw(record: DecisionRecord, folder: Path) -> Path:
    """Mean recall at 1 .. k of each way, into a folder."""
    figure, axes = panel()
    rows = []
    table = record.tables[CURVE]
    places, *curves = zip(*table["rows"], strict=True)
    for number, (way, curve) in enumerate(zip(table["columns"][1:], curves, strict=True)):
        axes.plot(
            places, curve, label=way, linewidth=1.4, markersize=4, markevery=max(1, len(curve) // 8), **look(number)
        )
        rows.append((way, f"{curve[-1]:.4f}"))
    axes.set_xlabel("items found (k)")
    axes.set_ylabel("recall of relevant items")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    told = "Share of a request's relevant items among the first k of the whole catalogue, the mean over requests."
    return save(
        Drawing("recall", "Recall by length of the list", told, figure, ("way", "recall"), tuple(rows)), folder, "png"
    )
