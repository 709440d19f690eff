"""What `need` found, as numbers, tables, notes and a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.need.judging import MODEL, OWN, PRIOR, RAW, RUN, SHUFFLED, UNASKED, Judged, Study, Truth
from funneltune.decisions.need.lists import BY_ALL, BY_HISTORY, BY_OWN, WITH, WITHOUT, Lists
from funneltune.metrics import Interval, reliability
from funneltune.records import DecisionRecord
from funneltune.reporting.figures.drawing import FAINT, INK, SERIES, STYLE
from funneltune.runs.identity import git_commit, versions

PICTURE, ROWS = "need.png", "needs.csv"
MEASURES = ("log_loss", "top1", "top3")
SHOWN = 30
"""Rows of the shoppers' table in the record; the CSV has all."""


def record_of(found: Study, needs: pd.DataFrame, run: str, asked: dict[str, Any]) -> DecisionRecord:
    """Everything but the picture and the rows."""
    tables = {"prediction": _prediction(found.judged), "bought": _lists(found.lists, "bought")}
    if found.lists.purchases:
        tables["purchases"] = _lists(found.lists, "purchases")
    if found.truth is not None:
        tables["truth"] = _truth(found.truth)
    tables["attributes"] = {
        "columns": ["attribute", "weight"],
        "rows": [[n, float(w)] for n, w in zip(["prior", *found.history.names], found.need.weights, strict=True)],
    }
    tables["needs"] = {
        "columns": needs.columns.tolist(),
        "rows": [[v.item() if isinstance(v, np.generic) else v for v in row] for row in needs.head(SHOWN).to_numpy()],
    }
    return DecisionRecord(
        verb="need",
        run=run,
        settings={**asdict(found.settings), **asked},
        numbers=_numbers(found),
        tables=tables,
        figures=[PICTURE],
        notes=_notes(found),
        git_commit=git_commit(),
        versions=versions(),
    )


def write(record: DecisionRecord, found: Study, needs: pd.DataFrame, folder: Path) -> None:
    """The record, the picture and a row for each shopper and category, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(found).savefig(folder / PICTURE, dpi=150)
    needs.to_csv(folder / ROWS, index=False)
    record.write(folder)


def _prediction(judged: Judged) -> dict[str, Any]:
    columns = ["by", *MEASURES, "ece", "saved", "low", "high"]
    rows = []
    for way in judged.said:
        gain = judged.gain(way, PRIOR, "log_loss")
        means = [judged.mean(way, measure).estimate for measure in MEASURES]
        rows.append([way, *means, judged.calibration_error(way), *_told(gain)])
    return {"columns": columns, "rows": rows}


def _lists(lists: Lists, measure: str) -> dict[str, Any]:
    rows = [
        [way, weight, lists.mean(way, measure).estimate, *_told(lists.gain(way, measure))]
        for way, weight in lists.weights.items()
    ]
    return {"columns": ["list", "weight", measure, "more", "low", "high"], "rows": rows}


def _truth(truth: Truth) -> dict[str, Any]:
    rows = [[way, truth.divergence(way).estimate, *_told(truth.rank_correlation(way))] for way in truth.said]
    return {"columns": ["by", "divergence", "rank_correlation", "low", "high"], "rows": rows}


def _told(interval: Interval) -> list[float]:
    return [interval.estimate, interval.low, interval.high]


def _numbers(found: Study) -> dict[str, dict[str, Any]]:
    judged, lists, numbers = found.judged, found.lists, {}
    told = f"{len(judged.told)} test requests with a later {found.log.event}, clustered by shopper"
    for measure in MEASURES:
        for way in judged.said:
            numbers[f"{way}/{measure}"] = _number(judged.mean(way, measure), told)
            for ahead in dict.fromkeys((judged.headline, MODEL)):
                if way != ahead and not (way == RUN and ahead == MODEL):
                    numbers[f"{ahead} over {way}/{measure}"] = _number(judged.gain(ahead, way, measure), told)
    for way in judged.said:
        entry = {"value": judged.calibration_error(way), "low": None, "high": None}
        numbers[f"{way}/ece"] = entry | {"protocol": f"of the likeliest category; {told}"}
    places = found.settings.places
    protocols = {
        "bought": f"share of {told}, in a list of {places}",
        "purchases": f"expected by the world in a list of {places}; {len(lists.user)} test requests, by shopper",
    }
    for measure in protocols if lists.purchases else ["bought"]:
        for way in lists.weights:
            numbers[f"{way}/{measure}"] = _number(lists.mean(way, measure), protocols[measure])
            for over in (WITHOUT, BY_ALL, BY_OWN, *([BY_HISTORY] if BY_HISTORY in lists.weights else [])):
                if way not in (WITHOUT, over):
                    gain = lists.gain(way, measure, over)
                    numbers[f"{way} over {over}/{measure}"] = _number(gain, protocols[measure])
    if found.truth is not None:
        spread = "over shoppers for each category; the interval is over categories"
        of = f"against the world's expected purchases of {len(found.truth.user)} shoppers"
        for way in found.truth.said:
            numbers[f"{way}/divergence"] = _number(found.truth.divergence(way), f"{of}, nats")
            numbers[f"{way}/rank_correlation"] = _number(found.truth.rank_correlation(way), f"{of}, {spread}")
    return numbers


def _number(interval: Interval, protocol: str) -> dict[str, Any]:
    low, high = (value if np.isfinite(value) else None for value in (interval.low, interval.high))
    return {"value": interval.estimate, "low": low, "high": high, "protocol": protocol}


def _notes(found: Study) -> list[str]:
    judged, lists, log = found.judged, found.lists, found.log
    sizes = ", ".join(f"{len(of):,} {split}" for split, of in found.found.items())
    notes = [
        f"A need is the {found.settings.category} of the next {log.event} of the same shopper, at each request whose "
        f"shopper has one before the split ends ({sizes}; {len(log.names)} categories). Who never buys is not judged.",
    ]
    others = {
        PRIOR: "what everyone buys",
        SHUFFLED: "one that was told other shoppers' purchases",
        OWN: "the shopper's own shares of clicks and purchases",
    }
    if found.own is not None:
        notes.append(
            f"The run has a task of its own for it, {found.own.task.name}: it is told the request's words and page, "
            f"which the others are not, and cooled by a temperature of {found.own.temperature:.3g} chosen on the "
            f"validation requests (calibration error {judged.calibration_error(RAW):.2g} before, "
            f"{judged.calibration_error(RUN):.2g} after). Unasked, it is told neither: what it says is averaged over "
            "the shopper's latest searches and everyone's."
        )
        told = {PRIOR: others[PRIOR], OWN: others[OWN], MODEL: "a model of what each did before"}
        notes += [_told_more(judged, "The run", RUN, other, what) for other, what in told.items()]
        notes.append(_told_more(judged, "Unasked, the run", UNASKED, MODEL, told[MODEL]))
    notes += [_told_more(judged, "The model", MODEL, other, what) for other, what in others.items()]
    notes += _of_lists(found)
    if not lists.purchases:
        notes.append(
            "Whether the next purchase stands in a list is not what the list would sell: pages that were shown decided "
            "what could be bought. Only a test on shoppers tells."
        )
    return notes


def _of_lists(found: Study) -> list[str]:
    """What ranking by need brings over the run's list without it, and over what takes no model: own shares."""
    lists, measure = found.lists, "purchases" if found.lists.purchases else "bought"
    notes = [_over_without(found, measure), _over_own(lists, measure)]
    if BY_HISTORY in lists.weights:
        gain = lists.gain(BY_HISTORY, measure, WITH)
        notes.append(
            "Ranked by the model of what each did before, lists without words "
            f"{_verdict(gain, 'do better than', 'do worse than', 'are not told apart from')} those ranked by the run's "
            f"own task, unasked: {gain.estimate:+.3g} a list ({gain.low:+.3g} to {gain.high:+.3g})."
        )
    return notes


def _over_without(found: Study, measure: str) -> str:
    """A cost is told as one, without a sign."""
    lists = found.lists
    gain = lists.gain(WITH, measure)
    told = f"the run's list without need, weight {lists.weights[WITH]:g}, {found.settings.places} places."
    if not np.isfinite(gain.low):
        return f"No claim for lists ranked by a shopper's need: they bring just what the others do; against {told}"
    advice = _verdict(
        gain,
        "Rank lists without words by need: it brings",
        "Do not rank lists by a shopper's need: it costs",
        "No claim for lists ranked by a shopper's need:",
    )
    costs = gain.high < 0
    ends = (-gain.estimate, -gain.high, -gain.low) if costs else (gain.estimate, gain.low, gain.high)
    estimate, low, high = (f"{end:{'' if costs else '+'}.3g}" for end in ends)
    unit = "purchases a list, by the world's truth" if lists.purchases else "of next purchases in the list"
    return f"{advice} {estimate} {unit} ({low} to {high}) against {told}"


def _over_own(lists: Lists, measure: str) -> str:
    """Whether a model was needed for it."""
    gain, shares = lists.gain(WITH, measure, BY_OWN), "the shopper's own shares of clicks and purchases"
    both = (
        f"{lists.mean(WITH, measure).estimate:.3g} a list by need, {lists.mean(BY_OWN, measure).estimate:.3g} by shares"
    )
    if not np.isfinite(gain.low):
        return f"Lists ranked by need are not better than lists ranked by {shares}: {both}, list for list."
    verdict = _verdict(gain, "are better", "are worse", "are not better")
    what = _verdict(gain, "", " Rank by these shares.", " These shares need no model.")
    return (
        f"Lists ranked by need {verdict} than lists ranked by {shares}: {both}, a difference of {gain.estimate:+.3g} "
        f"({gain.low:+.3g} to {gain.high:+.3g}).{what}"
    )


def _told_more(judged: Judged, who: str, way: str, other: str, what: str) -> str:
    gain = judged.gain(way, other, "log_loss")
    return (
        f"{who} tells {_verdict(gain, 'more than', 'less than', 'no more for sure than')} {what}: "
        f"{gain.estimate:+.3g} nats a request ({gain.low:+.3g} to {gain.high:+.3g})."
    )


def _verdict(gain: Interval, more: str, less: str, none: str) -> str:
    return more if gain.low > 0 else less if gain.high < 0 else none


# --- picture -------------------------------------------------------------------------------------------------------


def picture(found: Study) -> Figure:
    """How much better than popularity, how well calibrated, and what lists bring."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 3.4), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        judged, lists = found.judged, found.lists
        ways = [way for way in judged.said if way != PRIOR]
        _draw_intervals(left, ways, [judged.gain(way, PRIOR, "log_loss") for way in ways])
        left.axvline(0, color=FAINT, linewidth=0.8)
        left.set_xlabel("nats saved against popularity (95% interval)")
        left.set_title("The next category", loc="left", fontsize=9)
        _draw_reliability(middle, judged)
        measure = "purchases" if lists.purchases else "bought"
        _draw_intervals(right, list(lists.weights), [lists.mean(way, measure) for way in lists.weights])
        right.set_xlabel(f"{'expected purchases a list' if lists.purchases else 'next purchases in the list (share)'}")
        right.set_xlim(left=0)
        right.set_title(f"Lists of {found.settings.places} without words", loc="left", fontsize=9)
    return figure


def _draw_intervals(axes: Axes, names: list[str], found: list[Interval]) -> None:
    for place, of in enumerate(found):
        reach = of.high - of.estimate if np.isfinite(of.high) else 0.0
        axes.errorbar(of.estimate, -place, xerr=reach, fmt="o", color=INK, markersize=4, capsize=2)
    axes.set_yticks(-np.arange(len(names)), names)


def _draw_reliability(axes: Axes, judged: Judged) -> None:
    p = judged.said[judged.headline]
    curve = reliability((p.argmax(axis=1) == judged.told.need).astype(np.int8), p.max(axis=1), bins=8)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":")
    axes.plot(curve.predicted, curve.observed, color=SERIES[0], marker="o", markersize=4)
    axes.set_xlabel("p of the likeliest category")
    axes.set_ylabel("how often it came")
    axes.set_title(
        f"Calibration of {judged.headline} (ECE {judged.calibration_error(judged.headline):.2g})",
        loc="left",
        fontsize=9,
    )
