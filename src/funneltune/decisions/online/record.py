"""What a comparison of policies comes to: numbers with intervals, tables, a picture, a record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from funneltune.decisions.online.compare import MEASURES, ORACLE, STATIC, Compared
from funneltune.decisions.online.measures import difference, moving, over_seeds, recovered, recovery, shares
from funneltune.decisions.online.stream import Floats
from funneltune.errors import ConfigError
from funneltune.metrics import Interval
from funneltune.records import DecisionRecord
from funneltune.reporting.figures.drawing import INK, STYLE, look, panel
from funneltune.runs.identity import git_commit, versions

PICTURE = "purchases.png"
POINTS = 120
"""Of a curve, as the record keeps it."""

Number = dict[str, Any]


def measured(compared: Compared, window: int, share: float = 0.5) -> dict[str, Number]:
    """Every number of a comparison, by `policy/number`.

    Args:
        compared: The curves.
        window: Requests that a moving share is the mean of.
        share: Of the static model's loss, that counts as recovery.

    Raises:
        ConfigError: if the window does not fit behind the shift.
    """
    oracle, static, shift = compared.purchases(ORACLE), compared.purchases(STATIC), compared.shift
    behind = oracle.shape[1] - shift
    if not 1 <= window <= behind:
        raise ConfigError(f"window={window} must lie in 1 .. {behind}, the requests after the shift.")
    found: dict[str, Number] = {}
    parts = {"before": slice(0, shift), "after": slice(shift, None)}
    for name in compared.policies:
        own = compared.purchases(name)
        for when, part in parts.items():
            for measure in MEASURES:
                mean = compared.gained[name][measure][:, part].mean(axis=1)
                found[f"{name}/{measure}_{when}"] = _number(over_seeds(mean), f"per request, {when} the shift; truth")
            of_oracle = over_seeds(shares(own[:, part], oracle[:, part]))
            found[f"{name}/share_of_oracle_{when}"] = _number(of_oracle, f"purchases, {when} the shift")
            if name not in (ORACLE, STATIC):
                gain = difference(own[:, part].mean(axis=1), static[:, part].mean(axis=1))
                found[f"{name}/gain_{when}"] = _number(gain, "purchases per request beyond the static model's, paired")
        if name != ORACLE:
            regret = over_seeds((oracle - own).sum(axis=1))
            found[f"{name}/regret"] = _number(regret, "purchases short of the oracle's, all requests")
            found[f"{name}/seconds_per_update"] = _plain(
                float(compared.seconds[name].mean()), "wall clock, one process"
            )
            started, ended = compared.old_taste[name].T
            forgotten = _number(difference(ended, started), "purchases per request of old taste, end less start")
            found[f"{name}/old_taste_change"] = forgotten
            found[f"{name}/old_taste_start"] = _plain(float(started.mean()), "purchases per request of old taste")
        if name not in (ORACLE, STATIC):
            back = recovery(own, static, oracle, shift, window, share)
            told = f"requests after the shift, window {window}; null: not within {behind}"
            found[f"{name}/recovery_requests"] = _plain(back, told)
            days = compared.days.mean(axis=0)
            at = float("nan") if np.isnan(back) else float(days[min(shift + int(back), len(days)) - 1] - days[shift])
            found[f"{name}/recovery_days"] = _plain(at, told.replace("requests after", "days after"))
            part_of = over_seeds(recovered(own, static, oracle, shift))
            found[f"{name}/recovered"] = _number(part_of, "share of the purchases that the static model lost")
    return found


def tables(found: Mapping[str, Number], policies: list[str]) -> dict[str, dict[str, list[Any]]]:
    """The main numbers, a row per policy."""
    shown = {
        "purchases": ("purchases_before", "purchases_after", "share_of_oracle_before", "share_of_oracle_after"),
        "gains": ("gain_before", "gain_after", "recovered", "recovery_requests", "regret"),
        "costs": ("seconds_per_update", "old_taste_start", "old_taste_change"),
        "shoppers": tuple(f"{m}_after" for m in ("clicks", "revenue", "satisfaction", "empty")),
    }
    return {
        name: {
            "columns": ["policy", *of],
            "rows": [[policy, *(found.get(f"{policy}/{c}", {}).get("value") for c in of)] for policy in policies],
        }
        for name, of in shown.items()
    }


def picture(compared: Compared, window: int) -> Figure:
    """The moving share of the oracle's purchases over the days, a line per policy, the mean over seeds."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = panel(width=7.2, height=3.8)
        day = compared.days.mean(axis=0)
        for index, name in enumerate(name for name in compared.policies if name != ORACLE):
            curve = _share_curve(compared, name, window)
            there = slice(min(window, len(day) - 1), None)
            axes.plot(day[there], curve[there], **look(index), markevery=0.1, markersize=4, linewidth=1.4, label=name)
        axes.axvline(day[compared.shift], color=INK, linewidth=0.8, linestyle="--")
        axes.annotate("tastes shift", (day[compared.shift], axes.get_ylim()[1]), (4, -10), textcoords="offset points")
        axes.set_xlabel("day")
        axes.set_ylabel(f"purchases, share of the oracle's\n(last {window} requests)")
        axes.legend(frameon=False, fontsize=8, ncols=2)
    return figure


def write(
    output: Path,
    run: Path,
    compared: Compared,
    settings: Mapping[str, Any],
    found: dict[str, Number],
    notes: list[str],
    more: Mapping[str, Any],
) -> DecisionRecord:
    """The record (`more`: further tables), the curves and the picture."""
    output.mkdir(parents=True, exist_ok=True)
    window = int(settings["window"])
    picture(compared, window).savefig(output / PICTURE, dpi=150)
    at = np.linspace(0, compared.days.shape[1] - 1, POINTS).round().astype(int)
    day = compared.days.mean(axis=0)
    curves = {name: _share_curve(compared, name, window)[at].round(5).tolist() for name in compared.policies}
    curve_table = {"columns": ["day", *curves], "rows": np.array([day[at].round(3), *curves.values()]).T.tolist()}
    record = DecisionRecord(
        verb="online",
        run=str(run),
        settings=dict(settings),
        numbers=found,
        tables={**tables(found, compared.policies), **more, "share_of_oracle": curve_table},
        figures=[PICTURE],
        notes=notes,
        git_commit=git_commit(),
        versions=versions(),
    )
    record.write(output)
    return record


def _share_curve(compared: Compared, name: str, window: int) -> Floats:
    own, oracle = (moving(compared.purchases(of).mean(axis=0), window) for of in (name, ORACLE))
    return np.asarray(own / oracle)


def _number(interval: Interval, protocol: str) -> Number:
    return {"value": interval.estimate, "low": interval.low, "high": interval.high, "protocol": protocol}


def _plain(value: float, protocol: str) -> Number:
    return {"value": value, "low": None, "high": None, "protocol": protocol}
