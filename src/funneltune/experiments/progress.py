"""Lines between the runs of a study: how many are done, how long it took and will take, who leads.

Printed, not live: Lightning's own progress bar owns the terminal while a cell trains, and a log file gets the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from funneltune.experiments.budgets import Matched
from funneltune.experiments.rates import Choice
from funneltune.metrics.comparison import higher_is_better
from funneltune.records import RunRecord

ENDED = ("finished", "failed")
KINDS = ("trials", "runs")


def warns(lines: Iterable[str]) -> None:
    """What a reader of the results should know, on stderr."""
    console = Console(stderr=True)
    for line in lines:
        console.print(Text.assemble(("note: ", "bold yellow"), line))


def says_sizes(matched: Mapping[str, Matched | None]) -> None:
    """Which sizes make the cells train the same number of weights."""
    table = Table("matched", "weights tuned", "size", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, one in matched.items():
        sizes = (
            ", ".join(f"{key.rpartition('.')[2]} {value:g}" for key, value in one.sizes.items()) if one else "as it is"
        )
        table.add_row(name, f"{one.trained:,}" if one else "-", sizes)
    Console().print(table)


def says_rates(chosen: Mapping[str, Choice], metric: str) -> None:
    """Which learning rate each cell takes, and what the others gave."""
    table = Table("rates", "key", "chosen", f"tried ({metric})", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, choice in chosen.items():
        tried = "  ".join(
            f"{value:g}: {'failed' if score is None else f'{score:.4f}'}" for value, score in choice.scores.items()
        )
        edge = " (edge)" if choice.at_edge else ""
        table.add_row(name, choice.key, "none" if choice.chosen is None else f"{choice.chosen:g}{edge}", tried)
    Console().print(table)


def starts(state: dict[str, Any], folder: str) -> None:
    """Announce a run."""
    runs = [*state["trials"], *state["runs"]]
    done = sum(run["status"] in ENDED for run in runs)
    attempt = next((run.get("attempts", 1) for run in runs if run["folder"] == folder), 1)
    again = f" (attempt {attempt})" if attempt > 1 else ""
    Console().print(Text.assemble((f"[{done + 1}/{len(runs)}] ", "dim"), (_shown(folder) + again, "bold")))


def ends(state: dict[str, Any], folder: Path, ended: str, elapsed: float) -> None:
    """A bar over the runs, the time since the study began, the time that is left, and the best cell so far."""
    runs = [*state["trials"], *state["runs"]]
    done = sum(run["status"] in ENDED for run in runs)
    error = next((run["error"] for run in runs if run["folder"] == ended), None)
    console = Console()
    if error:
        before = [run["folder"] for run in runs if run["error"] == error and run["folder"] != ended]
        told = f"like {_shown(before[0])}" if before else error
        console.print(Text.assemble((f"{_shown(ended)} failed: ", "bold red"), told))
    line = Table.grid(padding=(0, 1))
    left = seconds_left(state, folder, elapsed)
    line.add_row(
        ProgressBar(total=len(runs), completed=done, width=24),
        f"{done}/{len(runs)} runs",
        f"{timedelta(seconds=round(elapsed))}",
        f"about {timedelta(seconds=round(left))} left" if left else "",
        Text(best_so_far(state, folder)),
    )
    console.print(line)


def seconds_left(state: dict[str, Any], folder: Path, elapsed: float) -> float | None:
    """What the open runs will take: each as long as those of its cell took, or else as the others of its kind.

    Runs that ended in this call took `elapsed` seconds together, however many ran at once.
    """
    took: dict[str, dict[str, list[float]]] = {}
    now = datetime.now(UTC).timestamp()
    worked = 0.0
    for kind in KINDS:
        for run in state[kind]:
            if run["status"] == "finished" and run["record"]:
                begun, seconds = _times(folder / run["record"])
                if seconds is not None:
                    took.setdefault(kind, {}).setdefault(run["cell"], []).append(seconds)
                    worked += seconds if begun >= now - elapsed - 1 else 0.0
    everyone = [seconds for cells in took.values() for several in cells.values() for seconds in several]
    if not everyone:
        return None
    left = 0.0
    for kind in KINDS:
        cells = took.get(kind, {})
        of_kind = [seconds for several in cells.values() for seconds in several] or everyone
        for run in state[kind]:
            if run["status"] not in ENDED:
                known = cells.get(run["cell"], of_kind)
                left += sum(known) / len(known)
    at_once = max(1.0, worked / elapsed) if elapsed > 0 else 1.0
    return left / at_once


def _times(record: Path) -> tuple[float, float | None]:
    """When a run began, in seconds since the epoch, and how long it took; None where its record does not tell."""
    found = RunRecord.read(record)
    if not (found.started and found.finished):
        return 0.0, None
    begun, ended = (datetime.fromisoformat(time).timestamp() for time in (found.started, found.finished))
    return begun, ended - begun


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


def _shown(folder: str) -> str:
    return folder.removeprefix("cells/").replace("/", " ")
