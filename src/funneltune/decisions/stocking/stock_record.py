"""What orders and their replay came to, as numbers, tables, notes, rows and a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from funneltune.decisions.stocking.ahead import RUN
from funneltune.decisions.stocking.stock import OUTCOMES, Stock
from funneltune.metrics.forecasts import Range
from funneltune.records import DecisionRecord
from funneltune.reporting.figures.drawing import INK, PAPER, SERIES, dress, in_style
from funneltune.runs.identity import git_commit, versions

PICTURE, ROWS = "stock.png", "orders.csv"
MOST_ROWS = 20
"""Orders that the record lists, of one piece or more; the file has all."""


def stock_record(found: Stock, run: str, on_hand: str, sold_out: str) -> DecisionRecord:
    """Everything but the picture and the rows."""
    listed = orders(found).sort_values("quantity", ascending=False, kind="stable")
    listed = listed[listed["quantity"] > 0].head(MOST_ROWS)
    return DecisionRecord(
        verb="stock",
        run=run,
        settings={
            **asdict(found.settings),
            "baselines": list(found.settings.baselines),
            "on_hand": on_hand or "none",
            "sold_out": sold_out,
        },
        numbers=_numbers(found),
        tables={
            "ways": _ways(found),
            "against": _against(found),
            "orders": {"columns": list(listed.columns), "rows": listed.to_numpy().tolist()},
        },
        figures=[PICTURE],
        notes=_notes(found),
        git_commit=git_commit(),
        versions=versions(),
    )


def write_stock(record: DecisionRecord, found: Stock, folder: Path) -> None:
    """The record, the picture and the orders, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(found).savefig(folder / PICTURE, dpi=110)
    orders(found).to_csv(folder / ROWS, index=False)
    record.write(folder)


def orders(found: Stock) -> pd.DataFrame:
    """A row per item that the log showed: what is there, what to order, and why."""
    there = (found.shelf.on_hand, found.quantity, found.expected, found.low, found.high, found.target)
    return pd.DataFrame(
        {
            "item": found.daily.names,
            "on_hand": found.shelf.on_hand.astype(np.int64),
            "quantity": found.quantity.astype(np.int64),
            "reason": [_reason(found, *map(float, of)) for of in zip(*there, strict=True)],
        }
    )


def _reason(found: Stock, on_hand: float, quantity: float, mean: float, low: float, high: float, target: float) -> str:
    told = f"{mean:.1f} expected in {found.terms.protected} days ({low:.0f} to {high:.0f})"
    if not target:
        return f"{told}; none to keep at this ratio"
    return f"{told}; {'fill up' if quantity else 'enough'} to {target:.0f}" + (
        "" if quantity else f", {on_hand:.0f} there"
    )


def _ways(found: Stock) -> dict[str, Any]:
    lines = [[way, *(found.measured(way, name).estimate for name in OUTCOMES)] for way in found.replayed]
    return {"columns": ["way", *(name.replace(" ", "_") for name in OUTCOMES)], "rows": lines}


def _against(found: Stock) -> dict[str, Any]:
    lines = [
        [way, name, *found.against(way, name)] for way in found.replayed if way != RUN for name in ("cost", "fill rate")
    ]
    return {"columns": ["other", "measure", "run_less_other", "low", "high"], "rows": lines}


def _numbers(found: Stock) -> dict[str, dict[str, Any]]:
    source = f"{found.draws} draws of the world's truth with full shelves" if found.known else "what the log sold"
    told = (
        f"{len(found.daily.names):,} items, {found.days} judged days, demand: {source}; cost, lost and held: the whole "
        "shop a day; 95% interval over items"
    )
    numbers: dict[str, dict[str, Any]] = {}
    for way in found.replayed:
        for name in OUTCOMES:
            numbers[f"{way}/{name}"] = _number(found.measured(way, name), told)
            if way != RUN:
                numbers[f"{RUN} less {way}/{name}"] = _number(found.against(way, name), told)
    return {key: one for key, one in numbers.items() if np.isfinite(one["value"])}


def _number(value: Range, protocol: str) -> dict[str, Any]:
    return {"value": value.estimate, "low": value.low, "high": value.high, "protocol": protocol}


def _notes(found: Stock) -> list[str]:
    terms, ratio = found.terms, found.terms.ratio
    level = f"{ratio.mean():.1%}" if np.ptp(ratio) < 1e-9 else f"{ratio.min():.1%} to {ratio.max():.1%}"
    why = "as service_level asks" if found.settings.service_level else "shortage / (shortage + holding x review)"
    notes = [
        f"Order {found.quantity.sum():,.0f} pieces of {int((found.quantity > 0).sum()):,} of {len(ratio):,} items: up "
        f"to what lasts {terms.protected} days (lead time {terms.lead_time} and review {terms.review}) with "
        f"a chance of {level} ({why})."
    ]
    if idle := int((found.quantity == 0).sum()):
        notes.append(f"{idle:,} of {len(ratio):,} items need no order now: they stand in the file, not in the list.")
    if not found.shelf.told:
        notes.append("Nothing is taken to be on the shelf: on_hand=FILE (item, on_hand) tells what there is.")
    notes += [_verdict(found, way) for way in found.replayed if way != RUN]
    orders_made = len(range(0, found.days, terms.review))
    notes.append(
        f"{found.days} of {len(found.daily.test)} held-out days are judged, from the first order's arrival on; "
        f"{orders_made} {'order decides' if orders_made == 1 else 'orders decide'} them, each from the log before "
        "it. All ways start with the same shelves: a lead time's mean sales."
    )
    notes.append(_of_empty_shelves(found))
    if found.known:
        notes.append("Held-out demand is drawn from the world's truth with full shelves.")
    else:
        notes.append("Held-out demand is what the log sold: what was wanted and not there is not counted.")
    notes.append("What is not there is lost, not waited for. Costs are per piece; orders cost nothing and come whole.")
    return notes


def _of_empty_shelves(found: Stock) -> str:
    if found.sold_out is None:
        return (
            "Sales are taken to be what was wanted: of items that were sold out too little is ordered. "
            "sold_out=FILE (item, day) tells when."
        )
    share = float((found.daily.shown * found.sold_out).sum() / found.daily.shown.sum())
    return (
        f"{share:.1%} of the log's impressions were of items without stock that day; such days count as the item's "
        "others do, per impression, where more would have been bought."
    )


def _verdict(found: Stock, way: str) -> str:
    gap = found.against(way, "cost")
    told = "less than" if gap.high < 0 else "more than" if gap.low > 0 else "about as much as"
    fill = found.against(way, "fill rate")
    return (
        f"Ordering by the run costs {told} by {way}: {gap.estimate:+.3g} a day ({gap.low:+.3g} to {gap.high:+.3g}); it "
        f"serves {fill.estimate:+.1%} of demand ({fill.low:+.1%} to {fill.high:+.1%})."
    )


# --- picture -------------------------------------------------------------------------------------------------------


@in_style
def picture(found: Stock) -> Figure:
    """What each way costs, what it serves, and the largest orders."""
    figure = Figure(figsize=(11.0, 3.6), layout="constrained", facecolor=PAPER)
    left, middle, right = figure.subplots(1, 3)
    for axes in (left, middle, right):
        dress(axes)
    _draw_costs(left, found)
    _draw_served(middle, found)
    middle.set_ylim(left.get_ylim())  # the names stand at the left one's rows
    _draw_orders(right, found)
    drawn = [axes.get_legend_handles_labels() for axes in (left, right)]
    handles, labels = ([one for side in drawn for one in side[part]] for part in (0, 1))
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
    return figure


def _draw_costs(axes: Axes, found: Stock) -> None:
    names, terms = list(found.replayed), found.terms
    for place, way in enumerate(names):
        of = found.replayed[way]
        held = float((terms.holding_cost * of.held).sum() / of.days)
        lost = float((terms.shortage_cost * of.lost).sum() / of.days)
        kept, gone = (None, None) if place else ("cost of what is held", "cost of lost sales")
        axes.barh(-place, held, color=SERIES[0], height=0.6, label=kept)
        axes.barh(-place, lost, left=held, color=SERIES[1], height=0.6, label=gone)
    axes.set_yticks(-np.arange(len(names)), names)
    axes.set_xlabel("cost of the shop, a day")
    axes.set_title("Ordered by ...", loc="left", fontsize=9)


def _draw_served(axes: Axes, found: Stock) -> None:
    names = list(found.replayed)
    for place, way in enumerate(names):
        at = found.measured(way, "fill rate")
        colour = SERIES[0] if way == RUN else INK
        axes.plot([at.low, at.high], [-place, -place], color=colour, linewidth=1)
        axes.plot(at.estimate, -place, "o", color=colour, markersize=4)
    axes.set_yticks(-np.arange(len(names)), [""] * len(names))
    axes.set_xlabel("fill rate (95% interval over items)")
    axes.set_title("Share of demand served", loc="left", fontsize=9)


def _draw_orders(axes: Axes, found: Stock) -> None:
    most = np.argsort(-found.target, kind="stable")[: min(12, max(1, int((found.target > 0).sum())))]
    told = ["90% interval of sales", "expected sales", "filled up to"]
    for place, s in enumerate(most):
        interval, expected, target = told if not place else [None] * 3
        axes.plot([found.low[s], found.high[s]], [-place, -place], color=SERIES[0], linewidth=1, label=interval)
        axes.plot(found.expected[s], -place, "o", color=SERIES[0], markersize=4, label=expected)
        axes.plot(
            found.target[s], -place, "|", color=INK, markersize=9, markeredgewidth=2, label=target, linestyle="none"
        )
    axes.set_yticks(-np.arange(len(most)), [found.daily.names[s][:22] for s in most])
    axes.set_xlim(left=0)
    axes.set_xlabel(f"pieces in {found.terms.protected} days")
    axes.set_title("Largest targets", loc="left", fontsize=9)
