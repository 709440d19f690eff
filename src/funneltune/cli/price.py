"""`funneltune price`: what prices do to an item's demand, and the price that brings most."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

if TYPE_CHECKING:
    from funneltune.records import DecisionRecord

DEFAULTS = {
    "item": "",
    "items": "",
    "grid": "0.7:1.3:13",
    "goal": "revenue",
    "cost": "",
    "cost_share": "",
    "low": "",
    "high": "",
    "correct": "none",
    "personas": "",
    "like": "category",
    "beyond": "refuse",
    "requests": "200",
    "draws": "500",
    "seed": "0",
    "calibration": "",
    "output": "",
}
TITLES = {
    "items": "prices",
    "curve": "demand and what it brings, per 1,000 impressions",
    "truth": "against the marketplace's truth, on the same impressions",
    "groups": "by group of shoppers",
    "groups_apart": "each group's elasticity less that of all other shoppers",
    "elasticities": "mean own-price elasticity over the training rows",
}
NOT_PRINTED: tuple[str, ...] = (
    "arc",
    "pages",
    "p_click",
    "p_purchase_given_click",
    "item_share",
    "like_share",
    "advisable",
)
NOT_PRINTED += ("clicks", "clicks_low", "clicks_high")
"""Columns of the record that a terminal has no room for."""


def run(arguments: Arguments) -> int:
    """Price, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    for name, title in TITLES.items():
        if name in record.tables:
            _print(record.tables[name], title)
    for note in record.notes:
        say(note if note.startswith("WARNING") else f"note: {note}")
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {name: keys[name] for name in ("goal", "correct", "personas", "like", "beyond")}
    for name in ("requests", "draws", "seed"):
        found[name] = _number(name, keys[name], whole=True)
    for name in ("cost", "cost_share", "low", "high"):
        found[name] = None if keys[name] == "" else _number(name, keys[name])
    parts = keys["grid"].split(":")
    if len(parts) != 3:
        raise ConfigError(f"grid={keys['grid']} must be LOW:HIGH:PRICES, shares of the price now (0.7:1.3:13).")
    return found | {"grid": (*(_number("grid", one) for one in parts[:2]), _number("grid", parts[2], whole=True))}


def carried_out(keys: dict[str, str]) -> DecisionRecord:
    """Price by all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, an item unknown, or no price may be advised.
        DataError: if the items or groups cannot be read.
        RunError: if it is no finished run, it reads no price, its log tells none, or the folder has something in it.
    """
    from funneltune.decisions.pricing import Settings, price_items, wanted
    from funneltune.decisions.pricing.record import record_of, write
    from funneltune.decisions.pricing.study import require_prices
    from funneltune.decisions.scorer import Scorer

    settings = Settings(**settings_of(keys))
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    scorer = Scorer.of_run(Path(keys["run"]), keys["calibration"] or None)
    require_prices(scorer)
    items = wanted(scorer, settings, keys["item"], Path(keys["items"]) if keys["items"] else None)
    found = price_items(scorer, items, settings)
    record = record_of(found, keys["run"])
    record.settings["calibration"] = scorer.calibration
    if output is not None:
        write(record, found, output)
    return record


def _print(content: dict[str, Any], title: str) -> None:
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    profits = {"revenue_per_1000"} if "profit_per_1000" in content["columns"] else set()
    shown = [n for n, heading in enumerate(content["columns"]) if heading not in (*NOT_PRINTED, *profits)]
    for number in shown:
        table.add_column(content["columns"][number].replace("_", "\n"), no_wrap=True)
    for row in content["rows"]:
        table.add_row(*(_cell(row[number]) for number in shown))
    Screen().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "-" if value is None else str(value)


def _number(name: str, text: str, whole: bool = False) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ConfigError(f"{name}={text} must be {'a whole number' if whole else 'a number'}.") from None


VERB = Verb(
    name="price",
    summary="demand at other prices, its elasticity, and the price that brings most",
    usage="funneltune price run=PATH item=KEY|items=FILE [goal=profit] [cost_share=0.6] [correct=dml] [output=FOLDER]",
    examples=(
        "funneltune price run=runs/shop/2026-01-31_12-00-00 item=item-000012",
        "funneltune price run=runs/shop/2026-01-31_12-00-00 items=items.csv goal=profit cost_share=0.6 output=prices",
        "funneltune price run=runs/shop/2026-01-31_12-00-00 item=item-000012 correct=dml personas=price_sensitivity",
    ),
    run=run,
    keys={
        "run": "folder of a finished run that reads prices and predicts clicks and purchases",
        "item": "the log's identifier of the item; or",
        "items": "CSV, Parquet or JSON lines: item, if known cost, low, high (in money)",
        "grid": "LOW:HIGH:PRICES, shares of the price now (default 0.7:1.3:13)",
        "goal": "what the best price brings most of: revenue (default), profit",
        "cost": "of a unit, in money; or",
        "cost_share": "of a unit, as a share of the price now",
        "low": "the best price is this or more, in money (default: the grid's lowest)",
        "high": "the best price is this or less (default: the grid's highest)",
        "correct": "none: as the run predicts (default); dml: turned to the mean elasticity by double machine learning",
        "personas": "column of the shoppers, or a file with columns user, group: elasticity by group",
        "like": "column of the items that says which are alike (default category)",
        "beyond": "refuse: never advise a price that the log has not held (default); warn: do, and say so",
        "requests": "test pages per item at most (default 200)",
        "draws": "of the bootstrap over shoppers (default 500)",
        "seed": "of the bootstrap and of cross-fitting (default 0)",
        "calibration": "none, temperature, platt, isotonic (default: as the run's config says)",
        "output": "a new folder for decision.json, prices.csv and the picture (default: print only)",
    },
)
