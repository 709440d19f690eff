"""Lines between the cells of a study: how many are done, how long it took, who leads.

Printed, not live: Lightning's own progress bar owns the terminal while a cell trains, and a log file gets the same.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from funneltune.metrics.comparison import higher_is_better
from funneltune.records import RunRecord

ENDED = ("finished", "failed")


def starts(state: dict[str, Any], cell: str) -> None:
    """Announce a cell."""
    done = sum(run["status"] in ENDED for run in state["runs"])
    Console().print(Text.assemble((f"[{done + 1}/{len(state['runs'])}] ", "dim"), (_shown(cell), "bold")))


def ends(state: dict[str, Any], folder: Path, cell: str, elapsed: float) -> None:
    """A bar over the cells, the time since the study began, and the best cell so far."""
    runs = state["runs"]
    done = sum(run["status"] in ENDED for run in runs)
    error = next((run["error"] for run in runs if f"cells/{run['cell']}/seed={run['seed']}" == cell), None)
    console = Console()
    if error:
        console.print(Text.assemble((f"{_shown(cell)} failed: ", "bold red"), error))
    line = Table.grid(padding=(0, 1))
    line.add_row(
        ProgressBar(total=len(runs), completed=done, width=24),
        f"{done}/{len(runs)} cells",
        f"{timedelta(seconds=round(elapsed))}",
        Text(best_so_far(state, folder)),
    )
    console.print(line)


def best_so_far(state: dict[str, Any], folder: Path) -> str:
    """`best ctcvr/auc 0.7213 (tuning=houlsby)` by mean over the finished seeds; empty before there is a value."""
    metric = state["study"]["metric"]
    values: dict[str, list[float]] = {}
    for run in state["runs"]:
        if run["status"] == "finished" and run["record"]:
            value = RunRecord.read(folder / run["record"]).value(metric)
            if value is not None:
                values.setdefault(run["cell"], []).append(value)
    if not values:
        return ""
    means = {cell: sum(found) / len(found) for cell, found in values.items()}
    choose = max if higher_is_better(metric) else min
    best = choose(means, key=lambda cell: means[cell])
    return f"best {metric} {means[best]:.4f} ({best})"


def _shown(cell: str) -> str:
    return cell.removeprefix("cells/").replace("/", " ")
