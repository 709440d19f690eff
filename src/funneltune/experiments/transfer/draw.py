"""The few-shot curve, as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.experiments.transfer.curve import Transferred
from funneltune.experiments.transfer.record import PICTURE, mean
from funneltune.experiments.transfer.settings import PRETRAINED
from funneltune.reporting.figures.drawing import FAINT, HEIGHT, PAPER, WIDTH, dress, in_style, look


@in_style
def draw_curve(found: Transferred, folder: Path) -> Path:
    """The metric over shot counts, a line per start, and each start's difference from the pretrained backbone."""
    figure = Figure(figsize=(2 * WIDTH, HEIGHT), layout="constrained", facecolor=PAPER)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        dress(axes)
        axes.set_xticks(range(len(found.counts)), [f"{shots:,}" for shots in found.counts])
        axes.set_xlabel("training requests of the target")
    _draw_values(left, found)
    _draw_differences(right, found)
    figure.savefig(folder / PICTURE, dpi=150)
    return folder / PICTURE


def _draw_values(axes: Axes, found: Transferred) -> None:
    """Means over seeds, each seed as a dot."""
    for number, start in enumerate(dict.fromkeys((PRETRAINED, *found.settings.compared))):
        style = look(number)
        at = [place for place, shots in enumerate(found.counts) if (start, shots) in found.statistics]
        each = [found.value(start, found.counts[place]) for place in at]
        axes.plot(at, [mean(values) for values in each], **style, markersize=5, linewidth=1.4, label=start.name)
        for place, values in zip(at, each, strict=True):
            axes.scatter([place] * len(values), values, s=8, color=style["color"], alpha=0.5, linewidths=0)
    for place, scorer in enumerate(found.lexical if 0 in found.counts else ()):
        of = next((of for (_, other), of in found.untrained().items() if other == scorer), None)
        if of is not None and of.baseline_value is not None:
            dashes = (":", "-.")[place]
            axes.axhline(of.baseline_value, color=FAINT, linestyle=dashes, linewidth=1.0, label=f"{scorer}, untrained")
    axes.set_ylabel(found.metric)
    axes.legend(frameon=False, fontsize=8)


def _draw_differences(axes: Axes, found: Transferred) -> None:
    """With 95% intervals."""
    differences = found.differences()
    axes.axhline(0, color=FAINT, linewidth=1.0, linestyle="--")
    many = len(found.settings.compared)
    for number, start in enumerate(found.settings.compared):
        style = look(number + 1)
        for place, shots in enumerate(found.counts):
            of = differences.get((start, shots))
            if of is None or of.difference is None:
                continue
            at = place + 0.12 * (number - (many - 1) / 2)
            low, high = (of.difference if end is None else end for end in (of.low, of.high))
            reach = [[of.difference - low], [high - of.difference]]
            axes.errorbar([at], [of.difference], yerr=reach, fmt=style["marker"], color=style["color"], capsize=3)
    axes.set_xlim(-0.5, len(found.counts) - 0.5)
    axes.set_ylabel("less the pretrained backbone alone")
