"""What a search says: a line per trial, a table at the end, a picture of its history or of its front."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.importance import PedAnovaImportanceEvaluator
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from funneltune.experiments.search_plan import SearchPlan
from funneltune.experiments.search_space import Value
from funneltune.files import whole_file

ENDED = ("finished", "pruned", "failed")
LISTED = 5
FOR_IMPORTANCES = 10
"""Finished trials below which importances are noise."""
BLUE, ORANGE, GREY, RED = "#0072B2", "#E69F00", "#7f7f7f", "#D55E00"
"""Okabe and Ito's, told apart by colour-blind readers too."""


# --- lines -----------------------------------------------------------------------------------------------------


def trial_starts(number: int, plan: SearchPlan, params: Mapping[str, Value]) -> None:
    """Announce a trial and its setting."""
    setting = "  ".join(f"{key}={shown(params[key])}" for key in params)
    _console().print(Text.assemble((f"trial {number} ", "bold"), (f"of {plan.total}  ", "dim"), setting))


def trial_ends(content: Mapping[str, Any], number: int, seconds: Sequence[float]) -> None:
    """How a trial ended, the best so far, and the time that is left."""
    trials = content["trials"]
    entry = trials[number]
    ended = sum(trial["status"] in ENDED for trial in trials)
    parts: list[Any] = [(f"[{ended}/{content['total']}] ", "dim"), f"trial {number} "]
    if entry["status"] == "failed":
        parts += [("failed: ", "bold red"), entry["error"] or ""]
    elif entry["values"]:
        parts.append(_values_text(content, entry["values"]))
    else:
        parts += [("pruned", "yellow"), f" {_last(entry):.4f}"]
    best = content["best"]
    if len(content["objectives"]) > 1:
        parts.append(f"  front: {len(best)} trials")
    elif best:
        parts.append(f"  best {trials[best[0]]['values'][0]:.4f} (trial {best[0]})")
    left = content["total"] - ended
    if left and seconds:
        workers = 1 + sum(trial["status"] == "running" for trial in trials)
        each = statistics.mean(seconds)
        parts.append((f"  {timedelta(seconds=round(left * each / workers))} left", "dim"))
    _console().print(Text.assemble(*parts))


def shown(value: Any) -> str:
    """A setting's value in few letters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _values_text(content: Mapping[str, Any], values: Sequence[float]) -> str:
    names = [objective["key"].removeprefix("validation/") for objective in content["objectives"]]
    return ", ".join(f"{name} {_number(value)}" for name, value in zip(names, values, strict=True))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def _last(entry: Mapping[str, Any]) -> float:
    """A pruned trial's last value."""
    steps = entry["validations"]
    return float(steps[max(steps, key=int)]) if steps else float("nan")


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)


# --- the end ---------------------------------------------------------------------------------------------------


def importances(study: optuna.Study) -> dict[str, float] | None:
    """Share of the objective's spread that each key of the space explains (PED-ANOVA, Watanabe et al. 2023); None
    before there are enough trials, or with several objectives.
    """
    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(finished) < FOR_IMPORTANCES or len(study.directions) > 1:
        return None
    if len({trial.value for trial in finished}) == 1:
        return None
    found = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {key: float(share) for key, share in found.items()}


def print_table(content: Mapping[str, Any]) -> None:
    """The best trials, or the front; importances, where there are any."""
    objectives = content["objectives"]
    several = len(objectives) > 1
    chosen = ordered(content)
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", title=_title(content, several))
    table.add_column("trial", justify="right")
    for objective in objectives:
        arrow = "↑" if objective["direction"] == "maximise" else "↓"
        table.add_column(_header(objective["key"].removeprefix("validation/")) + f" {arrow}", justify="right")
    keys = list(content["search"]["space"])
    for key in keys:
        table.add_column(_header(key), justify="right")
    for entry in chosen:
        cells = [str(entry["number"]), *map(_number, entry["values"]), *(shown(entry["params"][key]) for key in keys)]
        table.add_row(*cells, style="bold" if not several and entry is chosen[0] else "")
    console = _console()
    console.print(table)
    if content["importances"]:
        told = ", ".join(f"{key} {share:.0%}" for key, share in content["importances"].items())
        console.print(f"importances (of {objectives[0]['key']}): {told}")
    for entry in content["trials"]:
        if entry["status"] == "failed":
            console.print(Text.assemble(("failed: ", "bold red"), f"trial {entry['number']}: {entry['error']}"))


def _header(key: str) -> str:
    """Broken where a key's parts meet: the figures below are narrow."""
    return key.replace(".", ".\n").replace("/", "/\n")


def _title(content: Mapping[str, Any], several: bool) -> str:
    trials = content["trials"]
    counts = {state: sum(t["status"] == state for t in trials) for state in (*ENDED, "interrupted", "running")}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return f"{content['name']}: {'front' if several else 'best trials'} of {len(trials)} ({told}), validation split"


def ordered(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials of the table: the front by its first objective, or the best ones."""
    maximise = content["objectives"][0]["direction"] == "maximise"
    finished = [entry for entry in content["trials"] if entry["values"]]
    ordered = sorted(finished, key=lambda entry: entry["values"][0], reverse=maximise)
    if len(content["objectives"]) > 1:
        return [entry for entry in ordered if entry["number"] in content["best"]]
    return ordered[:LISTED]


# --- pictures --------------------------------------------------------------------------------------------------


def draw(content: Mapping[str, Any], folder: Path) -> Path | None:
    """front.png of two objectives, history.png of one; None before a trial has finished."""
    if not content["best"]:
        return None
    several = len(content["objectives"]) > 1
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    (_draw_front if several else _draw_history)(figure, content)
    path = folder / ("front.png" if several else "history.png")
    with whole_file(path) as part:
        figure.savefig(part, dpi=130)
    return path


def _draw_history(figure: Figure, content: Mapping[str, Any]) -> None:
    """Value by trial, and the best so far."""
    axes = figure.add_subplot()
    finished = [(entry["number"], entry["values"][0]) for entry in content["trials"] if entry["values"]]
    better = max if content["objectives"][0]["direction"] == "maximise" else min
    best = [better(value for _, value in finished[: n + 1]) for n in range(len(finished))]
    numbers, values = zip(*finished, strict=True)
    axes.step([*numbers, len(content["trials"]) - 1], [*best, best[-1]], where="post", color=BLUE, label="best so far")
    axes.scatter(numbers, values, color=BLUE, zorder=3, label="finished")
    pruned = [(e["number"], _last(e)) for e in content["trials"] if e["status"] == "pruned" and e["validations"]]
    if pruned:
        axes.scatter(*zip(*pruned, strict=True), marker="v", color=ORANGE, label="pruned, at its last validation")
    failed = [entry["number"] for entry in content["trials"] if entry["status"] == "failed"]
    if failed:
        axes.scatter(failed, [min(values)] * len(failed), marker="x", color=RED, label="failed (no value)")
    axes.set_xlabel("trial")
    axes.set_ylabel(content["objectives"][0]["key"])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, f"{content['name']}: {len(content['trials'])} trials")


def _draw_front(figure: Figure, content: Mapping[str, Any]) -> None:
    """The first two objectives against one another; the front's trials carry their numbers."""
    axes = figure.add_subplot()
    first, second = content["objectives"][:2]
    points = {e["number"]: (e["values"][1], e["values"][0]) for e in content["trials"] if e["values"]}
    front = sorted(points[number] for number in content["best"])
    others = [point for number, point in points.items() if number not in content["best"]]
    if others:
        axes.scatter(*zip(*others, strict=True), marker="s", color=GREY, label="surpassed by another trial")
    # Between two of them nothing was reached: a step, not a slope.
    style = "steps-pre" if second["direction"] == "maximise" else "steps-post"
    axes.plot(*zip(*front, strict=True), color=BLUE, marker="o", label="front", drawstyle=style)
    for number in content["best"]:
        axes.annotate(str(number), points[number], textcoords="offset points", xytext=(-9, 7), color=BLUE, fontsize=9)
    axes.set_xlabel(f"{second['key']} ({'more' if second['direction'] == 'maximise' else 'less'} is better)")
    axes.set_ylabel(f"{first['key']} ({'more' if first['direction'] == 'maximise' else 'less'} is better)")
    costs = [cost for cost, _ in points.values()]
    if min(costs) > 0 and max(costs) > 20 * min(costs):
        axes.set_xscale("log")
    _finish(axes, f"{content['name']}: {len(content['trials'])} trials; numbers name those of the front")


def _finish(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
