"""What AdaLoRA keeps, drawn: its map of ranks per module and layer, and how it came to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from funneltune.files import whole_file
from funneltune.metrics.ranks import grid, is_attention, placed
from funneltune.records import RecordFolder
from funneltune.reporting.figures.drawing import PAPER, SERIES, Drawing, dress, in_style, panel
from funneltune.reporting.findings import Findings
from funneltune.reporting.ranks import pattern_of, rank_history, ranked

FIGURE_NAME = "ranks.png"
KINDS = {"attention": (SERIES[0], "-"), "feed-forward": (SERIES[1], "--")}
DARK_UNTIL = 0.6
"""Share of the colour scale below which its colours want white letters."""


@in_style
def rank_maps(findings: Findings) -> list[Drawing]:
    """Per cell that has allocated ranks: the mean map at the end, and the live ranks by kind of module over steps."""
    made = []
    for number, (cell, runs) in enumerate(ranked(findings.records).items()):
        name = findings.name(cell)
        patterns = [pattern_of(run) for run in runs]
        modules, layers, ranks = mean_map(patterns)
        figure, axes = panel(height=1.0 + 0.3 * len(modules))
        _map(axes, patterns)
        made.append(
            Drawing(
                f"ranks-{number}",
                f"{name}: ranks kept per module and layer",
                f"Mean over {len(runs)} run{'s' * (len(runs) > 1)}; a matrix with more is one that AdaLoRA found to "
                "matter more.",
                figure,
                ("", *(f"layer {layer}" for layer in layers)),
                tuple(
                    (module, *(f"{rank:.1f}" if np.isfinite(rank) else "-" for rank in row))
                    for module, row in zip(modules, ranks, strict=True)
                ),
            )
        )
        histories = [history for run in runs if (history := rank_history(run))]
        if histories:
            figure, axes = panel()
            _fall(axes, histories)
            made.append(
                Drawing(
                    f"ranks-over-time-{number}",
                    f"{name}: live ranks over the steps",
                    "A line per run: how many ranks are live, in attention and in feed-forward matrices.",
                    figure,
                    ("step", *KINDS),
                    tuple(
                        (f"{step:,}", *(f"{live(histories[0][step], kind):.0f}" for kind in KINDS))
                        for step in sorted(histories[0])
                    ),
                )
            )
    return made


@in_style
def write_ranks(records: RecordFolder, names: Mapping[str, str], folder: Path) -> None:
    """Draw `ranks.png` into the folder, where any run has ranks: all cells side by side."""
    cells = {names.get(cell, cell): runs for cell, runs in ranked(records).items()}
    if not cells:
        return
    figure = Figure(figsize=(4.2 * len(cells) + 1.2, 5.6), layout="constrained", facecolor=PAPER)
    axes = figure.subplots(2, len(cells), squeeze=False, height_ratios=(3, 2))
    for column, (name, runs) in enumerate(cells.items()):
        for each in axes[:, column]:
            dress(each)
        _map(axes[0, column], [pattern_of(run) for run in runs], labels=column == 0)
        axes[0, column].set_title(f"{name}: ranks kept (mean of {len(runs)} seeds)", fontsize=10)
        _fall(axes[1, column], [history for run in runs if (history := rank_history(run))], labels=column == 0)
    with whole_file(folder / FIGURE_NAME) as part:
        figure.savefig(part, dpi=120, format="png")


def mean_map(patterns: Sequence[Mapping[str, float]]) -> tuple[list[str], list[int], NDArray[np.float64]]:
    """Modules, layers, and the mean rank of each matrix over runs; NaN where there is none."""
    modules, layers, _ = grid(patterns[0])
    return modules, layers, np.mean([grid(pattern)[2] for pattern in patterns], axis=0)


def live(ranks: Mapping[str, float], kind: str) -> float:
    """Live ranks of one kind of module."""
    return sum(rank for (module, _), rank in placed(ranks).items() if is_attention(module) == (kind == "attention"))


def _map(axes: Axes, patterns: Sequence[Mapping[str, float]], labels: bool = True) -> None:
    modules, layers, ranks = mean_map(patterns)
    most = float(np.nanmax(ranks)) or 1.0
    axes.grid(visible=False)
    axes.pcolormesh(ranks, cmap="viridis", vmin=0, vmax=most, edgecolor=PAPER, linewidth=1)
    for (row, column), rank in np.ndenumerate(ranks):
        if np.isfinite(rank):
            shade = "white" if rank < DARK_UNTIL * most else "black"
            axes.text(column + 0.5, row + 0.5, f"{rank:.1f}", ha="center", va="center", color=shade, fontsize=8)
    axes.set_xticks(np.arange(len(layers)) + 0.5, [str(layer) for layer in layers])
    axes.set_yticks(np.arange(len(modules)) + 0.5, modules if labels else [""] * len(modules))
    axes.invert_yaxis()
    axes.set_xlabel("layer")


def _fall(axes: Axes, histories: Sequence[Mapping[int, Mapping[str, float]]], labels: bool = True) -> None:
    for kind, (colour, line) in KINDS.items():
        for history in histories:
            steps = sorted(history)
            left = [live(history[step], kind) for step in steps]
            label = kind if history is histories[0] else None
            axes.step(steps, left, line, where="post", color=colour, linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    if labels:
        axes.set_ylabel("live ranks")
        if histories:
            axes.legend(frameon=False)
