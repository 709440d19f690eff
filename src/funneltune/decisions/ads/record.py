"""What a sale of sponsored places came to, as numbers, tables, notes and a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.ads.campaign import OUTCOMES, PACINGS
from funneltune.decisions.ads.study import OWN, RAW, Sold
from funneltune.metrics import Interval
from funneltune.records import DecisionRecord
from funneltune.reporting.figures.drawing import INK, SERIES, STYLE
from funneltune.runs.identity import git_commit, versions

PICTURE = "ads.png"
SHOWN = ("revenue", "value", "surplus", "clicks", "purchases", "filled")


def record_of(sold: Sold, run: str, bids: str) -> DecisionRecord:
    """Everything but the picture."""
    settings = {**asdict(sold.settings), "reserve": sold.reserve, "bids": bids or "the marketplace's sellers"}
    return DecisionRecord(
        verb="ads",
        run=run,
        settings=settings,
        numbers=_numbers(sold),
        tables={"ways": _ways(sold), "reserves": _reserves(sold), "budgets": _budgets(sold)},
        figures=[PICTURE],
        notes=_notes(sold),
        git_commit=git_commit(),
        versions=versions(),
    )


def write(record: DecisionRecord, sold: Sold, folder: Path) -> None:
    """The record and the picture, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(sold).savefig(folder / PICTURE, dpi=150)
    record.write(folder)


def _ways(sold: Sold) -> dict[str, Any]:
    told = [name for name in SHOWN if np.isfinite(sold.mean(OWN, name).estimate)]
    rows = [[way, *(sold.mean(way, name).estimate for name in told)] for way in sold.ways]
    return {"columns": ["ranked_by", *told], "rows": rows}


def _reserves(sold: Sold) -> dict[str, Any]:
    told = [name for name in OUTCOMES if np.isfinite(sold.mean(OWN, name).estimate)]
    rows = [[reserve, *(of[name].estimate for name in told)] for reserve, of in sold.curve]
    return {"columns": ["reserve", *told], "rows": rows}


def _budgets(sold: Sold) -> dict[str, Any]:
    n, rows = len(sold.sale.requests), []
    limited = np.isfinite(sold.market.budget) & (sold.market.budget > 0)
    for pacing in PACINGS:
        played = sold.paced[pacing]
        of = played.per_request
        rows.append(
            [
                pacing,
                float(of["revenue"].mean()),
                float(of["value"].mean()),
                float(of["surplus"].mean()),
                float(played.spent[limited].sum() / max(sold.market.budget[limited].sum(), 1e-12)),
                int((played.ran_out[limited] < n).sum()),
                float(played.pace[: n // 2].sum() / max(played.pace.sum(), 1e-12)),
            ]
        )
    columns = ["pacing", "revenue", "value", "surplus", "of_budgets_spent", "ran_out", "spent_in_the_first_half"]
    return {"columns": columns, "rows": rows}


def _numbers(sold: Sold) -> dict[str, dict[str, Any]]:
    source = "the world's truth" if sold.sale.known else "as the run predicts"
    told = f"per request, in expectation, {source}; {len(sold.sale.requests)} requests, clustered by shopper"
    found: dict[str, dict[str, Any]] = {}
    for name in OUTCOMES:
        for way in sold.ways:
            found[f"{way}/{name}"] = _number(sold.mean(way, name), told)
            if way != OWN:
                found[f"{OWN} less {way}/{name}"] = _number(sold.against(way, name), told)
    return {key: entry for key, entry in found.items() if np.isfinite(entry["value"])}


def _number(interval: Interval, protocol: str) -> dict[str, Any]:
    return {"value": interval.estimate, "low": interval.low, "high": interval.high, "protocol": protocol}


def _notes(sold: Sold) -> list[str]:
    rules, notes = sold.settings, []
    if not sold.sale.known:
        notes.append(
            "What comes of a place is the run's own prediction: no one knows here what shoppers would have done. Ways "
            "to rank are then not compared fairly; only a test on shoppers tells."
        )
    bidders = int(np.isfinite(sold.market.bid).sum())
    notes.append(
        f"{bidders:,} items of {len(sold.market.names):,} advertisers bid for {rules.slots} places of "
        f"{len(sold.sale.requests):,} pages; a {rules.pays} is paid for, at the "
        f"{ {'second': 'generalised second price', 'vcg': 'VCG price', 'first': 'bid'}[rules.payment] }."
    )
    for way in sold.ways:
        if way in (OWN, RAW):
            continue
        gain = sold.against(way, "revenue")
        if not np.isfinite([gain.low, gain.high]).all():
            continue  # too few places were sold to tell
        verdict = (
            "takes more than" if gain.low > 0 else "takes less than" if gain.high < 0 else "takes about as much as"
        )
        notes.append(
            f"Ranked by the run, a request {verdict} ranked by {way}: {gain.estimate:+.3g} "
            f"({gain.low:+.3g} to {gain.high:+.3g})."
        )
    free, paced = (sold.paced[pacing] for pacing in PACINGS)
    limited = np.isfinite(sold.market.budget) & (sold.market.budget > 0)
    n = len(sold.sale.requests)
    if limited.any():
        notes.append(
            f"Of {int(limited.sum())} budgets {int((free.ran_out[limited] < n).sum())} are gone before the last "
            f"request without pacing, {int((paced.ran_out[limited] < n).sum())} with it; by pacing advertisers keep "
            f"{_by_pacing(sold, 'surplus'):+.3g} and the shop takes {_by_pacing(sold, 'revenue'):+.3g} per request."
        )
    notes.append(
        "Bids are taken as they are: who pays the second price for several places may gain by bidding less than the "
        "value (VCG alone is truthful). Sponsored places are judged alone, without the list below them."
    )
    return notes


def _by_pacing(sold: Sold, outcome: str) -> float:
    """What a request brings more of with paced budgets than without."""
    free, paced = (sold.paced[pacing].per_request[outcome].mean() for pacing in PACINGS)
    return float(paced - free)


# --- picture -------------------------------------------------------------------------------------------------------


def picture(sold: Sold) -> Figure:
    """What each way to rank takes, what a reserve does, and how budgets go."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 3.4), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        _draw_ways(left, sold)
        _draw_reserves(middle, sold)
        _draw_budgets(right, sold)
    return figure


def _draw_ways(axes: Axes, sold: Sold) -> None:
    names = list(sold.ways)
    for place, way in enumerate(names):
        mean = sold.mean(way, "revenue")
        reach = mean.high - mean.estimate if np.isfinite(mean.high) else 0.0
        axes.errorbar(mean.estimate, -place, xerr=reach, fmt="o", color=INK, markersize=4, capsize=2)
    axes.set_yticks(-np.arange(len(names)), names)
    axes.set_xlabel("taken per request (95% interval)")
    axes.set_title("Ranked by bid times ...", loc="left", fontsize=9)


def _draw_reserves(axes: Axes, sold: Sold) -> None:
    at = [reserve for reserve, _ in sold.curve]
    for number, name in enumerate(("revenue", "value")):
        means = [of[name].estimate for _, of in sold.curve]
        if np.isfinite(means).all():
            axes.plot(at, means, color=SERIES[number], marker="os"[number], markersize=3, label=name)
    axes.axvline(sold.reserve, color=INK, linewidth=0.8, linestyle="--", label="the reserve")
    axes.set_xlabel(f"reserve price of a {sold.settings.pays}")
    axes.set_ylabel("per request")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("What a reserve does", loc="left", fontsize=9)


def _draw_budgets(axes: Axes, sold: Sold) -> None:
    limited = np.isfinite(sold.market.budget)
    whole = max(float(sold.market.budget[limited].sum()), 1e-12)
    share = np.arange(1, len(sold.sale.requests) + 1) / len(sold.sale.requests)
    for number, pacing in enumerate(PACINGS):
        told = {"none": "bid whole until it is gone", "paced": "paced"}[pacing]
        axes.plot(share, np.cumsum(sold.paced[pacing].pace) / whole, color=SERIES[number], label=told)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":")
    axes.set_xlabel("requests so far (share)")
    axes.set_ylabel("budgets spent (share)")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title("Budgets", loc="left", fontsize=9)
