"""What an A/B test came to, as numbers, tables, notes and a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.abtest.study import FINDS, MOST, Compared, asked
from funneltune.metrics import Interval
from funneltune.records import DecisionRecord
from funneltune.reporting.figures.drawing import INK, STYLE
from funneltune.runs.identity import git_commit, versions

PICTURE = "abtest.png"
Number = dict[str, Any]
Table = dict[str, Any]
SHOPPERS = {
    "utility": "utility of a purchase",
    "no_click": "requests without a click",
    "no_purchase": "requests without a purchase",
    "abandoned_sessions": "sessions without a purchase",
}
EXPERIMENT = ("conversion", "purchases", "clicks", "revenue", "satisfaction")


def record_of(compared: Compared, run_a: str, run_b: str) -> DecisionRecord:
    """Everything but the picture."""
    return DecisionRecord(
        verb="abtest",
        run=f"{run_a},{run_b}",
        settings=asked(compared.settings)
        | {f"calibration_{arm.name.lower()}": arm.calibration for arm in compared.arms if arm.calibration},
        numbers=_numbers(compared),
        tables={
            "arms": _arms(compared),
            "experiment": _experiment(compared),
            "seeds": _seeds(compared),
            "plan": _plan(compared),
            "deciding": _deciding(compared),
            "winner": _winner(compared),
            "looks": _looks(compared),
        },
        figures=[PICTURE],
        notes=_notes(compared),
        git_commit=git_commit(),
        versions=versions(),
    )


def write(record: DecisionRecord, compared: Compared, folder: Path) -> None:
    """The record and the picture, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(compared).savefig(folder / PICTURE, dpi=150)
    record.write(folder)


# --- tables --------------------------------------------------------------------------------------------------------


def _arms(compared: Compared) -> Table:
    """In truth, per request: both rankings on the same requests."""
    n = len(compared.bench.request)
    rows: list[list[Any]] = [
        [name, *(float(arm.pages.expected[name].sum()) / n for arm in compared.arms)]
        for name in ("clicks", "purchases", "revenue", "satisfaction")
    ]
    for name, told in SHOPPERS.items():
        rows.append([told, *(getattr(of, name) for of in compared.satisfaction)])
    return {"columns": ["per_request", *(arm.name for arm in compared.arms)], "rows": rows}


def _experiment(compared: Compared) -> Table:
    """The first seed's, per shopper."""
    happened = compared.happened[0]
    rows: list[list[Any]] = []
    for name in EXPERIMENT:
        of = happened.differences[name]
        one, other = compared.truth[name]
        rows.append([name, *happened.means[name], of.estimate, of.low, of.high, of.p_value, other - one])
    return {"columns": ["per_shopper", "A", "B", "difference", "low", "high", "p", "truth"], "rows": rows}


def _seeds(compared: Compared) -> Table:
    """Each experiment's word on the metric."""
    rows: list[list[Any]] = []
    for seed, happened in zip(compared.settings.seeds, compared.happened, strict=True):
        of = happened.differences[compared.settings.metric]
        looks = happened.looks
        rows.append(
            [seed, *happened.shoppers, of.estimate, of.low, of.high, of.p_value, looks.valid_p[-1], looks.stopped]
        )
    columns = ["seed", "in_A", "in_B", "difference", "low", "high", "p", "always_valid_p", "stopped_at"]
    return {"columns": columns, "rows": rows}


def _plan(compared: Compared) -> Table:
    plan, each = compared.plan, len(compared.bench.request) / len(compared.bench.users)
    rows = [
        ["true difference per shopper", plan.effect],
        ["standard deviation between shoppers, A", plan.deviations[0]],
        ["standard deviation between shoppers, B", plan.deviations[1]],
        ["shoppers per arm that it needs", plan.needed],
        ["requests that it needs", 2 * plan.needed * each],
        ["shoppers per arm here", plan.shoppers],
        ["smallest difference that this size finds", plan.detectable],
    ]
    return {"columns": ["what", "value"], "rows": rows}


def _deciding(compared: Compared) -> Table:
    """Shares of simulated experiments in which each way of deciding tells the arms apart."""
    plan = compared.plan
    rows: list[list[Any]] = [
        ["A/A: false positives", plan.shoppers, 0.05, *plan.equal],
        ["A/B: power at this size", plan.shoppers, plan.power_here, *plan.here],
        ["A/B: power as planned", plan.played, plan.power_played, *plan.there],
    ]
    columns = ["experiment", "per_arm", "formula", "fixed", "peeking", "always_valid", "used"]
    return {"columns": columns, "rows": rows}


def _winner(compared: Compared) -> Table:
    rows = [[way.name, way.finds, way.requests, way.simulated, _ratio(compared, way.name)] for way in compared.ways]
    return {"columns": ["way", "finds", "requests", "right", "sensitivity"], "rows": rows}


def _looks(compared: Compared) -> Table:
    looks = compared.happened[0].looks
    columns = ["shoppers", "difference", "p", "reach", "always_valid_p", "always_valid_reach"]
    series = (looks.shoppers, looks.difference, looks.fixed_p, looks.fixed_reach, looks.valid_p, looks.valid_reach)
    return {"columns": columns, "rows": [list(row) for row in zip(*series, strict=True)]}


def _ratio(compared: Compared, name: str) -> float:
    """How many times fewer requests than the A/B test on the metric."""
    own = next(way.requests for way in compared.ways if way.name == name)
    plain = compared.ways[0].requests
    return plain / own if math.isfinite(own) and math.isfinite(plain) else math.nan


# --- numbers and notes ---------------------------------------------------------------------------------------------


def _numbers(compared: Compared) -> dict[str, Number]:
    plan, metric = compared.plan, compared.settings.metric
    found: dict[str, Number] = {}
    for name in EXPERIMENT:
        protocol = "per shopper, B less A; Welch over shoppers, the first seed"
        found[f"difference/{name}"] = _interval(compared.happened[0].differences[name], protocol)
        one, other = compared.truth[name]
        found[f"truth/{name}"] = _plain(other - one, "per shopper, B less A; expected values of the same requests")
    found["plan/shoppers_per_arm"] = _plain(plan.needed, f"for {metric}, power {compared.settings.power:g}, level 5%")
    found["plan/detectable"] = _plain(plan.detectable, f"of {metric} per shopper, {plan.shoppers} shoppers per arm")
    for name, trials in (("equal", plan.equal), ("here", plan.here), ("planned", plan.there)):
        for way, value in zip(("fixed", "peeking", "always_valid"), trials, strict=False):
            told = f"share of {compared.settings.trials} simulated experiments, {compared.settings.looks} looks"
            found[f"{name}/{way}"] = _share(value, compared.settings.trials, told)
    for finder in compared.ways:
        key = finder.name.replace(" by ", "/").replace("A/B", "ab")
        found[f"{key}/requests"] = _plain(finder.requests, f"to name the true winner {FINDS:.0%} of the time")
        found[f"{key}/sensitivity"] = _plain(
            _ratio(compared, finder.name), f"requests of the A/B test by {metric} over this"
        )
    return found


def _notes(compared: Compared) -> list[str]:
    plan, settings, metric = compared.plan, compared.settings, compared.settings.metric
    notes = []
    if compared.same:
        notes.append("Both rankings show the same pages: this is an A/A test, and what differs is luck.")
    elif math.isfinite(plan.needed):
        enough = "enough" if plan.shoppers >= plan.needed else "not enough"
        notes.append(
            f"The true difference in {metric} needs {math.ceil(plan.needed):,} shoppers per arm for a power of "
            f"{settings.power:g}; here are {plan.shoppers:,}, {enough}."
        )
    if MOST < plan.needed < math.inf:
        notes.append(f"The planned size is beyond what is played through: it was tried with {MOST:,} shoppers per arm.")
    notes.append(
        f"Stopping at the first p below 5% of {settings.looks} looks calls {plan.equal.peeking:.0%} of A/A tests a "
        f"difference, one test at the end {plan.equal.fixed:.1%}, the always-valid p {plan.equal.sequential:.1%}."
    )
    winner = "neither" if compared.winner < 0 else "AB"[compared.winner]
    wrong = [way.name for way in compared.ways if way.finds not in (winner, "neither")]
    if wrong and winner != "neither":
        notes.append(f"The true winner by {metric} is {winner}; {', '.join(wrong)} would name the other one.")
    notes.append(
        "Each request is judged alone, with full shelves and budgets; a shopper counts whole from the first request "
        "on. Truth is expected values; satisfaction is the utility of what is bought, per shopper or request."
    )
    if compared.bench.world.click_model == "cascade":
        notes.append("no_click and abandoned_sessions take places as independent, which a cascade's are not.")
    return notes


def _interval(interval: Interval, protocol: str) -> Number:
    return {"value": interval.estimate, "low": interval.low, "high": interval.high, "protocol": protocol}


def _plain(value: float, protocol: str) -> Number:
    return {"value": value, "low": None, "high": None, "protocol": protocol}


def _share(value: float, n: int, protocol: str) -> Number:
    """With Wilson's interval (1927)."""
    z = 1.959964
    middle, reach = value + z**2 / (2 * n), z * math.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return {
        "value": value,
        "low": (middle - reach) / (1 + z**2 / n),
        "high": (middle + reach) / (1 + z**2 / n),
        "protocol": protocol,
    }


# --- picture -------------------------------------------------------------------------------------------------------


def picture(compared: Compared) -> Figure:
    """The first experiment as one watches it, and what looking does to the error."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _draw_looks(left, compared)
        _draw_errors(right, compared)
    return figure


def _draw_looks(axes: Axes, compared: Compared) -> None:
    looks = compared.happened[0].looks
    at, middle = np.array(looks.shoppers), np.array(looks.difference)
    for reach, shade, told in (
        (looks.valid_reach, "0.85", "always valid"),
        (looks.fixed_reach, "0.65", "of this look alone"),
    ):
        axes.fill_between(at, middle - np.array(reach), middle + np.array(reach), color=shade, label=told, linewidth=0)
    axes.plot(at, middle, color=INK, linewidth=1.4, marker="o", markersize=3, label="difference")
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.axhline(compared.plan.effect, color=INK, linewidth=1.0, linestyle="--", label="truth")
    widths = np.array(looks.valid_reach[len(at) // 4 :])
    if np.isfinite(widths).any():  # nobody bought, or too few came for an interval: as far as the points go
        widest = 1.8 * widths[np.isfinite(widths)].max()
        axes.set_ylim(compared.plan.effect - widest, compared.plan.effect + widest)
    axes.set_xlabel("shoppers so far")
    axes.set_ylabel(f"{compared.settings.metric} per shopper, B less A")
    axes.legend(frameon=False, fontsize=8, ncols=2)


def _draw_errors(axes: Axes, compared: Compared) -> None:
    names = ("one test\nat the end", "stop at the first\np below 5%", "always-valid\np")
    shares: Mapping[str, tuple[float, ...]] = {"A/A": compared.plan.equal[:3], "A/B": compared.plan.here[:3]}
    place = np.arange(len(names))
    for number, (told, values) in enumerate(shares.items()):
        bars = axes.bar(place + 0.4 * number - 0.2, values, 0.36, color=("0.4", "0.8")[number], label=told)
        axes.bar_label(bars, [f"{value:.0%}" for value in values], fontsize=8)
    axes.axhline(0.05, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xticks(place, names, fontsize=8)
    axes.set_ylim(0, 1.3)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("share that finds a difference")
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)
