"""What a forecast of demand came to, as numbers, tables, notes, rows and a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.stocking.ahead import FORECAST, KNOWN, PAST_RATE, RUN, SAME_DAY, TRUTH, Forecaster
from funneltune.decisions.stocking.demand import COMPARED, MEASURES, Demand, label
from funneltune.metrics.forecasts import Range
from funneltune.records import DecisionRecord
from funneltune.reporting.figures.drawing import FAINT, INK, PAPER, SERIES, dress, in_style
from funneltune.runs.identity import git_commit, versions

PICTURE, ROWS = "demand.png", "demand.csv"
MOST_ROWS = 20
"""Series that the record lists; the file has all."""


def demand_record(found: Demand, run: str) -> DecisionRecord:
    """Everything but the picture and the rows."""
    return DecisionRecord(
        verb="demand",
        run=run,
        settings={**asdict(found.settings), "baselines": list(found.settings.baselines)},
        numbers=_numbers(found),
        tables={"ways": _ways(found), "against": _against(found), "series": _series(found)},
        figures=[PICTURE],
        notes=_notes(found),
        git_commit=git_commit(),
        versions=versions(),
    )


def write_demand(record: DecisionRecord, found: Demand, folder: Path) -> None:
    """The record, the picture and the rows, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(found).savefig(folder / PICTURE, dpi=110)
    rows(found).to_csv(folder / ROWS, index=False, float_format="%.4g")
    record.write(folder)


def rows(found: Demand) -> pd.DataFrame:
    """A row per series and day: held out (with what was bought) and ahead of the log's end."""
    daily, own = found.daily, found.forecasts[found.own]
    known = found.settings.traffic == KNOWN
    made = Forecaster(daily, found.settings.traffic_model)
    held = range(found.span.start, found.span.stop)
    ahead = range(daily.days, daily.days + found.settings.days)
    shown = daily.shown[:, found.span.days] if known else made.impressions(found.span.start, len(held))
    parts = [
        ("held out", held, shown, own, found.actual),
        (
            "ahead",
            ahead,
            made.impressions(daily.days, len(ahead)),
            found.ahead,
            np.full((len(shown), len(ahead)), np.nan),
        ),
    ]
    tables = [
        pd.DataFrame(
            {
                found.settings.by: np.repeat(daily.names, len(days)),
                "day": np.tile([daily.date(day) for day in days], len(daily.names)),
                "when": when,
                "impressions": impressions.ravel(),
                "expected": one.means.mean.ravel(),
                "low": one.low.ravel(),
                "high": one.high.ravel(),
                "bought": bought.ravel(),
            }
        )
        for when, days, impressions, one, bought in parts
    ]
    return pd.concat(tables, ignore_index=True)


def _ways(found: Demand) -> dict[str, Any]:
    lines = []
    for way, one in found.forecasts.items():
        measured = [found.measures[way][measure].value for measure in (*COMPARED, "coverage")]
        lines.append([way, float(one.means.mean.sum()), *measured, float((one.high - one.low).mean())])
    return {"columns": ["way", "expected", *COMPARED, "coverage", "width"], "rows": lines}


def _against(found: Demand) -> dict[str, Any]:
    others = [way for way in found.forecasts if way != found.own]
    lines = [[way, name, *found.against(way, name)] for way in others for name in COMPARED]
    return {"columns": ["other", "measure", "run_less_other", "low", "high"], "rows": lines}


def _series(found: Demand) -> dict[str, Any]:
    own, days = found.forecasts[found.own], len(found.span)
    tail = (1 - found.settings.level) / 2
    mean, base = own.means.mean.sum(axis=1), own.means.base.sum(axis=1)
    low, high = (own.spread.quantile(at, mean, base, days) for at in (tail, 1 - tail))
    bought = found.actual.sum(axis=1)
    most = np.argsort(-mean, kind="stable")[:MOST_ROWS]
    lines = [[found.daily.names[s], *(float(of[s]) for of in (mean, low, high, bought))] for s in most]
    return {"columns": [found.settings.by, "expected", "low", "high", "bought"], "rows": lines}


def _numbers(found: Demand) -> dict[str, dict[str, Any]]:
    first = found.daily.date(found.span.start)
    told = (
        f"{len(found.daily.names):,} series over {len(found.span)} held-out days from {first}, "
        "forecast from the day before; 95% interval over series"
    )
    numbers: dict[str, dict[str, Any]] = {}
    for way in found.forecasts:
        for name in MEASURES:
            numbers[f"{way}/{name}"] = _number(found.measured(way, name), told)
            if way != found.own and name in COMPARED:
                numbers[f"{found.own} less {way}/{name}"] = _number(found.against(way, name), told)
    return {key: one for key, one in numbers.items() if np.isfinite(one["value"])}


def _number(value: Range, protocol: str) -> dict[str, Any]:
    return {"value": value.estimate, "low": value.low, "high": value.high, "protocol": protocol}


def _notes(found: Demand) -> list[str]:
    daily, own = found.daily, found.forecasts[found.own]
    per_day, first = float(found.actual.mean()), daily.date(found.span.start)
    notes = [
        f"{found.actual.sum():,.0f} purchases of {len(daily.names):,} series ({found.settings.by}) on "
        f"{len(found.span)} held-out days from {first}; the run expected {own.means.mean.sum():,.0f} "
        f"({found.settings.traffic} traffic): {_bias(found, found.own)}."
    ]
    notes += [_verdict(found, way) for way in found.forecasts if not way.startswith((RUN, TRUTH))]
    notes.append(_best(found))
    covered = found.measured(found.own, "coverage")
    asked = found.settings.level
    verdict = "fewer than asked for" if covered.high < asked else "at least what was asked for"
    notes.append(
        f"{covered.estimate:.1%} of the held-out days lie in the {asked:.0%} intervals ({covered.low:.1%} to "
        f"{covered.high:.1%}): {verdict}."
        + (" Counts are whole, so intervals of rare sales cover more than they must." if covered.low > asked else "")
    )
    if per_day < 1:
        notes.append(
            f"A series sells {per_day:.2g} a day: WAPE and MASE then favour who says nothing will be sold. Go by RMSSE "
            "(means) and pinball loss (quantiles), or by a coarser column."
        )
    if np.isfinite(found.sold_out):
        notes.append(
            f"{found.sold_out:.1%} of what shoppers wanted on these days met an empty shelf. Forecasts are of sales: "
            "what is sold out is not wanted less."
        )
    else:
        notes.append(
            "The log does not say when an item was sold out, so that forecasts are of sales; demand of what was often "
            "sold out is higher."
        )
    notes.append(
        "A purchase counts on the day of its impression (UTC). All forecasts of the held-out days are made the day "
        "before the first of them; intervals take their spread from the validation days."
    )
    return notes


def _verdict(found: Demand, way: str) -> str:
    gap = found.against(way, "rmsse")
    told = "less" if gap.high < 0 else "more" if gap.low > 0 else "about as far"
    off = f"{told} off than" if told != "about as far" else "about as far off as"
    return (
        f"The run ({found.settings.traffic} traffic) is {off} {way}: RMSSE {_gap(gap)}, WAPE "
        f"{_gap(found.against(way, 'wape'))}. Of the other: {_bias(found, way)}, {found.settings.level:.0%} intervals "
        f"that hold {found.measured(way, 'coverage').estimate:.1%} of the days."
    )


def _gap(gap: Range) -> str:
    return f"{gap.estimate:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"


def _bias(found: Demand, way: str) -> str:
    """By how much a way's sum is over or under what was bought."""
    off = found.measured(way, "bias")
    told = f"{abs(off.estimate):.1%} {'more' if off.estimate > 0 else 'less'} in all than"
    told = "as much in all as" if abs(off.estimate) < 5e-4 else told
    return f"{told} was bought ({off.low:+.1%} to {off.high:+.1%})"


def _best(found: Demand) -> str:
    """Which way is nearest, and whether a run or a model is needed for it."""
    ways = [found.own, *found.rivals]
    rmsse = {way: found.measures[way]["rmsse"].value for way in ways}
    best = min(ways, key=rmsse.__getitem__)
    if best == found.own:
        return (
            f"By RMSSE the run is the best of the {len(ways)} ways that know as much of these days ({rmsse[best]:.3f})."
        )
    gap = found.against(best, "rmsse")
    told = f"By RMSSE the best is {best} ({rmsse[best]:.3f}; the run {rmsse[found.own]:.3f}"
    told += ", not told apart)" if gap.low <= 0 else ")"
    if best == SAME_DAY:
        return told + ": the naive forecast. Neither the run nor a model gains anything here; take it."
    if best.startswith(PAST_RATE):
        return told + ": a count of the log that needs no run."
    return told + "."


# --- picture -------------------------------------------------------------------------------------------------------


@in_style
def picture(found: Demand) -> Figure:
    """The shop day by day, the series of which most is expected with its interval, and how far each way is off."""
    figure = Figure(figsize=(11.0, 3.8), layout="constrained", facecolor=PAPER)
    left, middle, right = figure.subplots(1, 3)
    for axes in (left, middle, right):
        dress(axes)
    _draw_days(left, found, None)
    expected = found.forecasts[found.own].means.mean.sum(axis=1)
    _draw_days(middle, found, int(np.argmax(expected)))  # not by what was bought: no one knew that before
    _draw_ways(right, found)
    handles, labels = middle.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_days(axes: Axes, found: Demand, one: int | None) -> None:
    """All series together, or one with its interval."""
    own, past = found.forecasts[found.own], max(0, found.span.start - 2 * 7)
    chosen = slice(None) if one is None else slice(one, one + 1)
    before, days = np.arange(past, found.span.start), np.arange(found.span.start, found.span.stop)
    known = found.daily.bought[chosen, past : found.span.start].sum(axis=0)
    axes.plot(before, known, color=FAINT, linewidth=1, label="bought before, known to all")
    axes.plot(
        days,
        found.actual[chosen].sum(axis=0),
        color=INK,
        marker="o",
        markersize=3,
        linewidth=1,
        label="bought, held out",
    )
    if one is not None:
        band = f"{found.settings.level:.0%} interval of the run, by day (of one series)"
        axes.fill_between(days, own.low[one], own.high[one], color=SERIES[0], alpha=0.2, label=band)
    others = {found.own: 0, SAME_DAY: 1, label(PAST_RATE, FORECAST): 2}
    for way, colour in others.items():
        mean = found.forecasts[way].means.mean[chosen].sum(axis=0)
        axes.plot(days, mean, color=SERIES[colour], linestyle="-" if colour == 0 else "--", linewidth=1.2, label=way)
    ticks = np.arange(past, found.span.stop, 7)
    axes.set_xticks(ticks, [found.daily.date(int(day))[5:] for day in ticks])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("purchases a day")
    title = "All together" if one is None else f"Most expected {found.settings.by}: {found.daily.names[one]}"
    axes.set_title(title[:44], loc="left", fontsize=9)


def _draw_ways(axes: Axes, found: Demand) -> None:
    names = list(found.forecasts)
    for place, way in enumerate(names):
        at = found.measured(way, "rmsse")
        colour = SERIES[0] if way == found.own else INK
        axes.plot([at.low, at.high], [-place, -place], color=colour, linewidth=1)
        axes.plot(at.estimate, -place, "o", color=colour, markersize=4)
    axes.set_yticks(-np.arange(len(names)), names)
    axes.set_xlabel("RMSSE (95% interval over series)")
    axes.set_title("How far off", loc="left", fontsize=9)
