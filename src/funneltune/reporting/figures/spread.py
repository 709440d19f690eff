"""How far runs and verdicts spread: every seed of every cell, and each difference with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from funneltune.metrics import Comparison
from funneltune.reporting.columns import Column
from funneltune.reporting.comparisons import fold_of
from funneltune.reporting.figures.drawing import (
    BAD,
    FAINT,
    GOOD,
    GRID,
    INK,
    SERIES,
    Drawing,
    Tips,
    in_style,
    rows_panel,
)
from funneltune.reporting.findings import Findings
from funneltune.reporting.render import comparison_texts

VERDICTS = {"better": (GOOD, "^"), "worse": (BAD, "v"), "no claim": (FAINT, "o")}
USUAL = 2.5
MOST_PAIRS = 24
"""Pairs that one picture can hold; of more, those with the baseline alone."""


@in_style
def seeds(findings: Findings) -> list[Drawing]:
    """A panel per metric: a point for each run, the cell's mean and its 95% interval over seeds."""
    return [drawing for column in findings.columns if (drawing := _seeds(findings, column)) is not None]


def _seeds(findings: Findings, column: Column) -> Drawing | None:
    cells = [cell for cell in findings.cells() if findings.figure(cell, column.key)]
    if not cells:
        return None
    figure, axes = rows_panel([findings.name(cell) for cell in cells])
    tips, rows = Tips(), []
    for place, cell in enumerate(cells):
        mean = findings.figure(cell, column.key)
        runs = [(run, value) for run in findings.runs(cell) if (value := run.record.value(column.key)) is not None]
        colour = SERIES[findings.cells().index(cell) % len(SERIES)]
        jitter = np.linspace(-0.16, 0.16, len(runs)) if len(runs) > 1 else [0.0]
        for (run, value), lift in zip(runs, jitter, strict=True):
            fold = fold_of(run)
            which = f"seed {run.record.seed}" + ("" if fold is None else f", fold {fold}")
            (drawn,) = axes.plot(value, place + lift, "o", color=colour, markersize=5, alpha=0.75)
            tips.add(drawn, f"{findings.name(cell)}, {which}: {column.text(value)}")
        assert mean is not None
        axes.errorbar(
            mean.mean, place, xerr=mean.reach, fmt="|", color=INK, markersize=13, markeredgewidth=1.8, elinewidth=1
        )
        said = "" if mean.reach is None else f"{mean.mean - mean.reach:.4f} to {mean.mean + mean.reach:.4f}"
        each = ", ".join(column.text(value) for _, value in runs)
        rows.append((findings.name(cell), column.text(mean.mean), said, each))
    for row in findings.table.rows:
        if row.kind == "ceiling" and (top := row.figures.get(column.key)):
            low, high = axes.get_xlim()
            if abs(top.mean - np.clip(top.mean, low, high)) < high - low:  # else it would squeeze all others
                axes.axvline(top.mean, color=FAINT, linestyle=":", linewidth=1)
                axes.annotate("oracle", (top.mean, -0.55), color=FAINT, ha="right", va="bottom", fontsize=8)
    axes.set_xlabel(column.title)
    many = max(len(findings.runs(cell)) for cell in cells)
    return Drawing(
        f"seeds-{_slug(column.key)}",
        f"{column.title}, run by run",
        "A point is a run"
        + (", the upright line the cell's mean, the bar its 95% interval over seeds." if many > 1 else "."),
        figure,
        ("", "mean", "95% interval over seeds", "runs"),
        tuple(rows),
        tips.texts,
    )


@in_style
def differences(findings: Findings) -> list[Drawing]:
    """A panel per metric: each pair's difference with the interval that its verdict rests on."""
    return [drawing for column in findings.columns if (drawing := _differences(findings, column)) is not None]


def _differences(findings: Findings, column: Column) -> Drawing | None:
    pairs = _pairs(findings, column.key)
    if not pairs:
        return None
    others = {one.baseline for one in pairs}
    alone = findings.name(next(iter(others))) if len(others) == 1 else None
    said = [findings.name(c.cell) + ("" if alone else f" - {findings.name(c.baseline)}") for c in pairs]
    figure, axes = rows_panel(said)
    axes.axvline(0, color=INK, linewidth=0.8)
    tips = Tips()
    for place, c in enumerate(pairs):
        colour, marker = VERDICTS[c.verdict]
        if c.detectable is not None:
            axes.plot([-c.detectable, c.detectable], [place, place], color=GRID, linewidth=7, solid_capstyle="butt")
        if c.low is not None and c.high is not None:
            axes.plot([c.low, c.high], [place, place], color=colour, linewidth=1.6)
        assert c.difference is not None
        (drawn,) = axes.plot(c.difference, place, marker, color=colour, markersize=7)
        tips.add(drawn, f"{said[place]}: {c.difference:+.4f}, {c.verdict}")
    _frame(axes, pairs)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"difference in {column.title}" + (f" from {alone}" if alone else ""))
    return Drawing(
        f"differences-{_slug(column.key)}",
        f"{column.title}: differences" + (f" from {alone}" if alone else ", pair by pair"),
        "Triangle up: better, down: worse (Holm-corrected); circle: no claim. Line: 95% interval; grey band: what this "
        "design would find with 80% power.",
        figure,
        ("", "against", "difference", "95% interval", "p (Holm)", "verdict"),
        tuple(_texts(c, findings) for c in pairs),
        tips.texts,
    )


def _frame(axes: Axes, pairs: Sequence[Comparison]) -> None:
    """Show every difference, and intervals up to a few times the usual: one that is far wider runs out."""
    wide = [max(abs(c.difference - c.low), abs(c.high - c.difference)) for c in pairs if None not in (c.low, c.high)]  # type: ignore[operator]
    reach = USUAL * float(np.median(wide)) if wide else 0.0
    ends = [0.0]
    for c in pairs:
        assert c.difference is not None
        ends += [max(c.low if c.low is not None else c.difference, c.difference - reach)]
        ends += [min(c.high if c.high is not None else c.difference, c.difference + reach)]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    axes.set_xlim(min(ends) - room, max(ends) + room)


def _pairs(findings: Findings, metric: str) -> list[Comparison]:
    """Each cell against the baseline, whichever way round it was compared; else the pairs as they are."""
    against = [c for cell in findings.cells() if (c := findings.verdict(cell, metric)) is not None]
    listed = [c for c in findings.comparisons if c.metric == metric]
    found = against if len(against) > 1 or len(listed) > MOST_PAIRS else listed
    return [c for c in found if c.difference is not None]


def _texts(c: Comparison, findings: Findings) -> tuple[str, ...]:
    cell, baseline, _, difference, interval, _, p_holm, _, verdict = comparison_texts(c, findings.table.names)
    return cell, baseline, difference, interval, p_holm, verdict


def _slug(key: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in key).strip("-")
