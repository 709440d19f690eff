"""What an audit of fairness came to, as numbers, tables, notes, a file of all groups and pictures."""

from __future__ import annotations

import math
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from funneltune.decisions.fairness.audit import BY_TRUTH, EXPOSURE, LEVEL, LOG, Audited
from funneltune.decisions.fairness.draw import groups_picture, trade_off_picture
from funneltune.decisions.fairness.mitigate import Point
from funneltune.decisions.fairness.study import Fairness
from funneltune.metrics import Interval
from funneltune.records import DecisionRecord
from funneltune.runs.identity import git_commit, versions

GROUPS_FILE, SHIFTS_FILE, TRADE_OFF = "groups.csv", "shifts.csv", "trade_off.png"
OVERALL = "all"
SHARES = (EXPOSURE, BY_TRUTH, LOG)
ENDS = ("_low", "_high")
Table = dict[str, Any]


def record_of(found: Fairness, run: str, ranking: str, against: str = "") -> DecisionRecord:
    """Everything but the files."""
    settings = asdict(found.settings) | {"by": list(found.settings.by), "rate": found.rate, "ranking": ranking}
    tables = {f"by {one.groups.column}": _of_column(one) for one in found.audited}
    frame = _frame(found)
    tables["groups"] = {"columns": list(frame.columns), "rows": frame.to_numpy(dtype=object).tolist()}
    if found.mitigated is not None:
        tables |= {"trade_off": _trade_off(found), "changes": _changes(found)}
    return DecisionRecord(
        verb="fairness",
        run=run,
        settings=settings | ({"against": against} if against else {}),
        numbers=_numbers(found),
        tables=tables,
        figures=[picture_of(one) for one in found.audited] + ([TRADE_OFF] if found.mitigated is not None else []),
        notes=_notes(found),
        git_commit=git_commit(),
        versions=versions(),
    )


def write(record: DecisionRecord, found: Fairness, folder: Path) -> None:
    """The record, a row for each group and measure, and pictures, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _frame(found).to_csv(folder / GROUPS_FILE, index=False)
    for one in found.audited:
        groups_picture(one, found.rate).savefig(folder / picture_of(one), dpi=150)
    if found.mitigated is not None:
        trade_off_picture(found).savefig(folder / TRADE_OFF, dpi=150)
        if found.mitigated.shifts:
            frame = pd.DataFrame(found.mitigated.shifts, columns=["by", "group", "log_odds"])
            frame.to_csv(folder / SHIFTS_FILE, index=False)
    record.write(folder)


def picture_of(one: Audited) -> str:
    """Its file's name."""
    return f"{one.groups.column.replace('.', '_')}.png"


# --- tables --------------------------------------------------------------------------------------------------------


def _of_column(one: Audited) -> Table:
    """A row for each group, the furthest from the median group first; measures with their intervals."""
    rows: list[list[Any]] = []
    for number in one.order:
        told = [float(of[number]) for got in one.measures.values() for of in (got.value, got.low, got.high)]
        said = "; ".join(one.findings(number))
        size = [int(one.rows[number]), int(one.positives[number])]
        rows.append([one.groups.names[number], *size, *told, float(one.ece[number]), said])
    whole = [1.0 if name in SHARES else told.whole for name, told in one.measures.items()]
    ends = [part for value in whole for part in (value, math.nan, math.nan)]
    rows.append([OVERALL, int(one.rows.sum()), int(one.positives.sum()), *ends, math.nan, ""])
    measures = [f"{name}{end}" for name in one.measures for end in ("", *ENDS)]
    return {"columns": ["group", "rows", "positives", *measures, "ece", "finding"], "rows": rows}


def _frame(found: Fairness) -> pd.DataFrame:
    """A row for each column, group and measure."""
    rows = []
    for one in found.audited:
        for name, told in one.measures.items():
            for number, group in enumerate(one.groups.names):
                said = one.said(name, number)
                numbers = [told.value, told.low, told.high, told.p_value, told.p_holm]
                rows.append(
                    [
                        one.groups.column,
                        group,
                        int(one.rows[number]),
                        name,
                        *(float(of[number]) for of in numbers),
                        said,
                    ]
                )
    columns = ["by", "group", "rows", "measure", "value", "low", "high", "p", "p_holm", "finding"]
    return pd.DataFrame(rows, columns=columns)


def _trade_off(found: Fairness) -> Table:
    assert found.mitigated is not None
    rows: list[list[Any]] = [["as it is", 0.0, found.mitigated.start, *([0.0] * 6)]]
    for point in found.mitigated.points:
        rows.append([point.way, point.weight, point.gap, *_ends(point.ndcg), *_ends(point.purchases)])
    changes = [f"{what}{end}" for what in ("ndcg", "purchases") for end in ("_change", "_low", "_high")]
    return {"columns": ["way", "weight", "gap", *changes], "rows": rows}


def _changes(found: Fairness) -> Table:
    rows = [list(asdict(one).values()) for one in found.changes]
    return {"columns": ["by", "group", "measure", "before", "after", "low", "high"], "rows": rows}


def _ends(interval: Interval | None) -> list[float]:
    return [math.nan] * 3 if interval is None else [interval.estimate, interval.low, interval.high]


# --- numbers and notes ---------------------------------------------------------------------------------------------


def _numbers(found: Fairness) -> dict[str, dict[str, Any]]:
    told = f"{found.rows.n:,} test requests, {len(found.rows.request):,} rows"
    numbers: dict[str, dict[str, Any]] = {
        "ndcg@k": {"value": found.ndcg, "protocol": f"pages of {found.rows.top} ranked by {found.ranked_by}; {told}"}
    }
    if found.purchases is not None:
        numbers["purchases"] = {"value": found.purchases, "protocol": f"expected per page by the world's truth; {told}"}
    for one in found.audited:
        column = one.groups.column
        numbers[f"{column}/flagged"] = {
            "value": len(one.flagged),
            "protocol": f"of {len(one.groups.names)} groups: p < {LEVEL:g} for a measure, Holm over the groups; {told}",
        }
        if one.groups.side == "item":
            for name, value in zip(("gini of exposure", "gini of merit"), one.gini, strict=True):
                numbers[f"{column}/{name}"] = {"value": value, "protocol": f"shares of the groups; {told}"}
        for name, measured in one.measures.items():
            for number in (at for at in range(len(one.groups.names)) if one.said(name, at)):
                numbers[f"{column}/{one.groups.names[number]}/{name}"] = {
                    "value": float(measured.value[number]),
                    "low": float(measured.low[number]),
                    "high": float(measured.high[number]),
                    "protocol": f"bootstrap over shoppers; {told}",
                }
    if found.mitigated is not None:
        numbers |= _of_mitigation(found, told)
    return numbers


def _of_mitigation(found: Fairness, told: str) -> dict[str, dict[str, Any]]:
    assert found.mitigated is not None
    way, best = found.mitigated.way, found.mitigated.best
    numbers: dict[str, dict[str, Any]] = {
        f"{way}/gap before": {"value": found.mitigated.start, "protocol": found.mitigated.of},
        f"{way}/gap after": {"value": best.gap, "protocol": f"{found.mitigated.of}; {_weight(best)}"},
    }
    for name, change in (("ndcg@k", best.ndcg), ("purchases", best.purchases)):
        if change is not None:
            value, low, high = _ends(change)
            protocol = f"after less before, same requests, clustered by shopper; {_weight(best)}; {told}"
            numbers[f"{way}/{name} change"] = {"value": value, "low": low, "high": high, "protocol": protocol}
    return numbers


def _weight(point: Point) -> str:
    return point.way if math.isnan(point.weight) else f"{point.way}, weight {point.weight:g}"


def _notes(found: Fairness) -> list[str]:
    notes = []
    for one in found.audited:
        column, pooled = one.groups.column, one.groups.pooled
        sizes = f"fewer than {found.settings.smallest:,} {one.groups.side}s, or past the {found.settings.most} largest"
        smaller = f" ({pooled} pooled, of {sizes})" if pooled else ""
        if not one.flagged:
            notes.append(f"{column}: no group of {len(one.groups.names)} stands out at 5%{smaller}.")
        for group, said in one.flagged.items():
            notes.append(f"{column}={group}: {', '.join(said)}{_told(one, group)}{smaller}.")
            smaller = ""
    if found.mitigated is not None:
        notes += _of_trade(found)
    truth = "" if found.purchases is None else " On the marketplace exposure_by_truth holds it against true worth."
    notes.append(
        "Merit is what the run predicts: a group that it predicts too low has too little merit here, and shows under "
        f"predicted_over_observed instead.{truth} A page of {found.rows.top} places follows merit roughly: of "
        "two nearly equal items the better one stands above every time."
    )
    notes.append(
        "A finding says that a group differs more than arbitrary sets of as many items (or shoppers) do. It does not "
        "say why: what a group sells, and to whom, is not taken off."
    )
    notes.append("Rows are what the log showed. What it never showed has no outcome, and no error can be seen there.")
    return notes


def _told(one: Audited, group: str) -> str:
    """The values behind a group's findings."""
    number = one.groups.names.index(group)
    told = [
        f"{name.replace('_', ' ')} {of.value[number]:.3g}, {of.low[number]:.3g} to {of.high[number]:.3g}"
        for name, of in one.measures.items()
        if one.said(name, number)
    ]
    return f" ({'; '.join(told)})"


def _of_trade(found: Fairness) -> list[str]:
    """What the smallest gap costs, by every measure of cost; or that the gap did not narrow, and nothing else."""
    assert found.mitigated is not None
    mitigated, best = found.mitigated, found.mitigated.best
    gap = f"The gap is {mitigated.of}."
    if best.gap >= mitigated.start:
        worst = max(mitigated.points, key=lambda one: one.gap)
        return [
            f"mitigate={mitigated.way} did not narrow the gap here: it was {mitigated.start:.3g} and came to "
            f"{best.gap:.3g} ({_weight(best)}) at best, {worst.gap:.3g} ({_weight(worst)}) at worst. "
            f"{_costs(found, best)} Leave it out. {gap}"
        ]
    notes = [
        f"mitigate={mitigated.way} ({_weight(best)}) takes the gap from {mitigated.start:.3g} to {best.gap:.3g}. "
        f"{_costs(found, best)} {gap}"
    ]
    if _loses(best):
        narrower = [one for one in mitigated.points if one.gap < mitigated.start]
        free = list(takewhile(lambda one: not _loses(one), narrower))
        if free:
            notes.append(f"The furthest before a loss shows: {_weight(free[-1])}, gap {free[-1].gap:.3g}.")
        elif all(map(_loses, narrower)):
            notes.append("Every point that narrows the gap costs something that shows.")
        else:
            notes.append(f"The first point that narrows the gap, {_weight(narrower[0])}, costs something that shows.")
    if mitigated.way == "calibrate":
        notes.append(
            f"{SHIFTS_FILE} holds what to add to the log odds of each group's {found.rate}; its gap never reaches "
            "0 on new requests, whose luck is in what was observed."
        )
    return notes


def _changes_of(point: Point) -> list[Interval]:
    return [point.ndcg] if point.purchases is None else [point.ndcg, point.purchases]


def _loses(point: Point) -> bool:
    """Whether anything that is measured shows a loss."""
    return any(one.high < 0 for one in _changes_of(point))


def _costs(found: Fairness, point: Point) -> str:
    """NDCG and, where they are known, expected purchases: what each loses, gains, or does not show."""
    of = {f"NDCG@{found.rows.top}": found.ndcg, "expected purchases a page": found.purchases or math.nan}
    told = []
    for (what, was), change in zip(of.items(), _changes_of(point), strict=False):
        verdict = "a loss" if change.high < 0 else "a gain" if change.low > 0 else "no difference that shows"
        ends = f" ({change.low:+.3g} to {change.high:+.3g})" if math.isfinite(change.low) else ""
        told.append(f"{what}, {verdict}: {change.estimate:+.3g}{ends} of {was:.3g}")
    return "; ".join(told) + "."
