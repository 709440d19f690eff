"""What a price study came to, as numbers, tables, notes and a table of curves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from funneltune.decisions.pricing.correction import CAUSAL, RUN
from funneltune.decisions.pricing.curve import FEWEST, PER
from funneltune.decisions.pricing.picture import picture
from funneltune.decisions.pricing.study import Priced, Study
from funneltune.decisions.pricing.support import LIKE, NONE
from funneltune.records import DecisionRecord
from funneltune.runs.identity import git_commit, versions

PICTURE, CURVES = "price.png", "prices.csv"
SHOPPERS = 10
"""Below so many a bootstrap over them says little."""
ALPHA = 0.05


def record_of(study: Study, run: str) -> DecisionRecord:
    """Everything but the picture and the table of curves."""
    tables = {"items": _items(study)}
    if len(study.items) == 1:
        frame = curves(study).drop(columns=["item", "goal_per_1000"])
        columns = [name for name in frame.columns if frame[name].notna().any()]
        tables["curve"] = {"columns": columns, "rows": frame[columns].to_numpy(dtype=object).tolist()}
    if study.known:
        tables["truth"] = _truth(study)
    if study.groups:
        columns = ["group", "impressions", "purchases_per_1000", "elasticity", "low", "high"]
        rows: list[list[Any]] = [
            [of.name, of.impressions, PER * of.purchase, of.elasticity, *of.ends] for of in study.groups
        ]
        if study.known:
            columns, rows = [*columns, "true"], [[*row, of.truth] for row, of in zip(rows, study.groups, strict=True)]
        tables["groups"] = {"columns": columns, "rows": rows}
    if len(study.groups) > 1:
        apart = [[of.name, of.apart, *of.apart_ends, of.p_holm] for of in study.groups]
        tables["groups_apart"] = {"columns": ["group", "less_others", "low", "high", "p_holm"], "rows": apart}
    if study.effects:
        columns = ["read_by", "clicks", "clicks_low", "clicks_high", "purchases", "purchases_low", "purchases_high"]
        rows = [
            [name, *(end for one in (of.click, of.purchase) for end in (one.value, one.low, one.high))]
            for name, of in study.effects.items()
        ]
        tables["elasticities"] = {"columns": columns, "rows": rows}
    return DecisionRecord(
        verb="price",
        run=run,
        settings={**asdict(study.settings), "grid": list(study.settings.grid)},
        numbers=_numbers(study),
        tables=tables,
        figures=[PICTURE],
        notes=notes(study),
        git_commit=git_commit(),
        versions=versions(),
    )


def write(record: DecisionRecord, study: Study, folder: Path) -> None:
    """The record, the picture and the curves, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(study).savefig(folder / PICTURE, dpi=150)
    curves(study).to_csv(folder / CURVES, index=False, float_format="%.6g")
    record.write(folder)


def curves(study: Study) -> pd.DataFrame:
    """A row per item and price: what an impression would bring, per 1,000, and what the log holds near it."""
    return pd.concat([_curve(study, one) for one in study.items], ignore_index=True)


def _curve(study: Study, one: Priced) -> pd.DataFrame:
    curve, support = one.curve, one.curve.support
    bought = curve.purchase.mean(axis=0)
    cost = one.wanted.cost
    found = {
        "item": curve.key,
        "price": curve.prices,
        "p_click": curve.click.mean(axis=0),
        "p_purchase_given_click": bought / np.maximum(curve.click.mean(axis=0), 1e-12),
        "purchases_per_1000": PER * bought,
        "low": PER * one.demand_ends[0],
        "high": PER * one.demand_ends[1],
        "revenue_per_1000": PER * curve.prices * bought,
        "profit_per_1000": PER * (curve.prices - cost) * bought,
        "goal_per_1000": PER * (curve.prices - (cost if study.settings.goal == "profit" else 0.0)) * bought,
        "item_rows": support.own,
        "item_share": support.own_share,
        "like_rows": support.like,
        "like_share": support.like_share,
        "support": support.level,
        "advisable": one.allowed,
        "true_purchases_per_1000": np.nan if curve.truth is None else PER * curve.truth.purchase.mean(axis=0),
    }
    return pd.DataFrame(found)


def _items(study: Study) -> dict[str, Any]:
    gain = f"{study.settings.goal}_gained"
    columns = ["item", "now", "elasticity", "low", "high", "arc", "best", gain, "from", "to", "pages"]
    rows = []
    for one in study.items:
        told = one.advice
        row = [one.curve.key, one.curve.now, one.point.value, *one.point_ends, one.arc]
        best = [told.price.value, PER * told.gain.value, *(PER * end for end in told.gain_ends)]
        rows.append([*row, *([None] * 4 if told.loses else best), len(one.curve.user)])
    return {"columns": columns, "rows": rows}


def _truth(study: Study) -> dict[str, Any]:
    columns = ["item", "elasticity", "true_elasticity", "best", "true_best_allowed", "lost_of_it"]
    columns += ["true_best_of_grid", "lost_of_that"]
    rows = []
    for one in study.items:
        told = one.advice
        found = [told.price.value, told.true_price, told.regret, told.true_price_of_grid, told.regret_of_grid]
        if told.loses:
            found = [None] * 5
        rows.append([one.curve.key, one.point.value, one.true_point, *found])
    return {"columns": columns, "rows": rows}


def _numbers(study: Study) -> dict[str, dict[str, Any]]:
    goal, found = study.settings.goal, {}
    for one in study.items:
        told = f"{len(one.curve.user)} impressions of the test split, bootstrap of {study.settings.draws} over shoppers"
        key = one.curve.key
        found[f"{key}/elasticity"] = _number(one.point.value, one.point_ends, told + "; d log q / d log p now")
        found[f"{key}/arc elasticity"] = _number(one.arc, one.arc_ends, told + "; midpoint formula over held prices")
        if one.true_point is not None:
            found[f"{key}/true elasticity"] = {"value": one.true_point, "protocol": "the marketplace, same impressions"}
        if one.advice.loses:
            continue
        over = f"{told}; over the {one.allowed.sum()} of {len(one.allowed)} prices of the grid that may be advised"
        found[f"{key}/best price"] = _number(one.advice.price.value, one.advice.ends, over)
        gain = PER * one.advice.gain.value, tuple(PER * end for end in one.advice.gain_ends)
        found[f"{key}/{goal} gained per 1000"] = _number(*gain, told + "; best price less price now")  # type: ignore[arg-type]
        if one.advice.regret is not None:
            told = f"share of the true best {goal} that the best price does not bring, by the world's truth"
            ways = ("", one.advice.regret, "allowed"), (" of grid", one.advice.regret_of_grid, "of the whole grid")
            for name, lost, which in ways:
                found[f"{key}/lost by advice{name}"] = {"value": lost, "protocol": f"{told}; over prices {which}"}
    for name, of in study.effects.items():
        for sold in ("click", "purchase"):
            one_of = getattr(of, sold)
            told = "mean own-price elasticity over the training rows"
            found[f"{name}/{sold} elasticity"] = _number(one_of.value, (one_of.low, one_of.high), told)
    return found


def _number(value: float, ends: tuple[float, float], protocol: str) -> dict[str, Any]:
    return {"value": value, "low": ends[0], "high": ends[1], "protocol": protocol}


# --- notes ---------------------------------------------------------------------------------------------------------


def notes(study: Study) -> list[str]:
    """What to do, and what the figures do not say."""
    found = [advice(study, one) for one in study.items]
    found += [told for one in study.items if (told := truly(study, one))]
    found += [warning for one in study.items if (warning := unheld(one))]
    rising = [one.curve.key for one in study.items if one.point.value >= 0]
    if rising:
        found.append(
            f"WARNING {_some(rising)}: by the run no fewer sell at a higher price, which shoppers hardly do; it has "
            "not learnt what prices do (features=all reads them, and the log's must have moved). Do not price by it."
        )
    found += _trust(study)
    if len(study.groups) > 1:
        found.append(_apart(study))
    few = [one.curve.key for one in study.items if len(set(one.curve.users)) < SHOPPERS]
    if few:
        found.append(f"{_some(few)}: fewer than {SHOPPERS} shoppers; their intervals say little.")
    stood_in = [one.curve.key for one in study.items if one.curve.stand_in.any()]
    if stood_in:
        found.append(
            f"{_some(stood_in)}: shown on fewer than {FEWEST} test pages; put in the place of an item of its like "
            "on further ones."
        )
    found.append(
        "Intervals are over shoppers: they do not hold the run's own error. Each impression is judged alone: other "
        "items' prices, the list's order, stock, rivals and tomorrow's purchases stay as they are."
    )
    return found


def advice(study: Study, one: Priced) -> str:
    """One sentence of what to ask for an item."""
    told, goal, key = one.advice, study.settings.goal, one.curve.key
    gain, (low, high) = PER * told.gain.value, (PER * end for end in told.gain_ends)
    price = told.price.value
    if told.loses:
        asked = one.curve.prices[one.allowed]
        return (
            f"WARNING {key}: no price to advise: none of those that may be ({asked[0]:.4g} to {asked[-1]:.4g}) is "
            f"above its cost of {one.wanted.cost:.4g}, so that no sale earns anything; ask more (grid=, high=), or do "
            "not sell it."
        )
    if one.allowed.sum() == 1 and not np.isclose(only := one.curve.prices[one.allowed][0], one.curve.now, rtol=1e-6):
        return (
            f"{key}: the log and the bounds leave {only:.4g} alone of the grid, and not {one.curve.now:.4g}, the price "
            f"now ({goal} per 1,000 impressions {gain:+.3g}, {low:+.3g} to {high:+.3g})."
        )
    if one.allowed.sum() == 1:
        return f"{key}: keep {one.curve.now:.4g}; the log and the bounds leave no other price of the grid to advise."
    doubt = "by the run no fewer sell when it is dearer" if one.point.value >= 0 else ""
    if study.corrected is False:
        doubt = "the log neither confirms nor corrects the run's elasticity"
    if doubt and not np.isclose(price, one.curve.now, rtol=0.01):
        said = f"{key}: keep {one.curve.now:.4g}; {price:.4g} looks best, and is not advised: {doubt}"
    elif low > 0:
        said = f"{key}: try {price:.4g} in place of {one.curve.now:.4g} on some shoppers"
    elif np.isclose(price, one.curve.now, rtol=0.01):
        said = f"{key}: keep {one.curve.now:.4g}, the best of the prices that may be advised"
    else:
        said = f"{key}: keep {one.curve.now:.4g}; {price:.4g} looks best, and is not shown to bring more"
    said += f" ({goal} per 1,000 impressions {gain:+.3g}, {low:+.3g} to {high:+.3g})"
    return said + ("; the log, the grid or a bound allows nothing beyond." if told.at_bound else ".")


def truly(study: Study, one: Priced) -> str:
    """On the marketplace: that the true best price is none of those that may be advised; else empty."""
    told = one.advice
    if told.true_price_of_grid is None or told.true_price is None or told.regret_of_grid is None or told.loses:
        return ""
    if np.isclose(told.true_price_of_grid, told.true_price, rtol=1e-6):
        return ""
    return (
        f"{one.curve.key}: in truth {told.true_price_of_grid:.4g} brings most {study.settings.goal} of the grid, which "
        f"the log or the bounds do not let be advised; {told.price.value:.4g} loses {told.regret_of_grid:.1%} of that."
    )


def unheld(one: Priced) -> str:
    """The warning of prices that the log has not held; empty where it has held all."""
    level, prices = one.curve.support.level, one.curve.prices
    parts = []
    if (level == NONE).any():
        parts.append(f"no such price, neither of it nor of its like, near {_listed(prices[level == NONE])}: a guess")
    if (level == LIKE).any():
        parts.append(
            f"only others of its like near {_listed(prices[level == LIKE])}: dearer items differ in more than price"
        )
    return f"WARNING {one.curve.key}: the log holds " + "; ".join(parts) + "." if parts else ""


def _trust(study: Study) -> list[str]:
    if not study.effects:
        return [
            "Demand is as the run predicts it from the log. Where sellers ask more when they see demand coming, it "
            "makes shoppers look less price-sensitive than they are: correct=dml mends what the log tells of it."
        ]
    run, causal = (study.effects[name].purchase for name in (RUN, CAUSAL))
    done = (
        "they differ. Every curve is turned by the difference"
        if study.corrected
        else "they are not told apart. No curve is turned, intervals are as wide as the log's, and no other price is "
        "advised"
    )
    return [
        f"A purchase's mean elasticity is {run.value:.2f} as the run predicts and {causal.value:.2f} ({causal.low:.2f} "
        f"to {causal.high:.2f}) by double machine learning: {done}.",
        "Double machine learning takes off what a week of a like, an item's sales of the week before, its usual price "
        "and its place tell of demand. What sellers know beyond that stays in; only prices tried at random are free "
        "of it.",
    ]


def _apart(study: Study) -> str:
    """Whether the price matters more to some than to others."""
    surely = [of.name for of in study.groups if of.p_holm < ALPHA]
    if surely:
        return f"Told from all other shoppers by the run's elasticities (Holm over the groups): {_some(surely)}."
    return (
        f"None of the {len(study.groups)} groups' elasticities is told from that of all other shoppers (Holm): do not "
        "price one group otherwise by this."
    )


def _listed(prices: Any) -> str:
    some = [f"{price:.4g}" for price in prices]
    return ", ".join(some if len(some) <= 4 else [*some[:2], "...", some[-1]])


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
