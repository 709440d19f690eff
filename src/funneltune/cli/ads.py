"""`funneltune ads`: sponsored places, sold by bids and a run's chances."""

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
    "bids": "",
    "slots": "4",
    "pays": "click",
    "payment": "second",
    "reserve": "0",
    "advertiser": "seller",
    "candidates": "logged",
    "depth": "50",
    "requests": "",
    "budget_share": "0.5",
    "decay": "",
    "one_each": "true",
    "calibration": "",
    "output": "",
}
TITLES = {
    "ways": "per request, by what places are ranked with the bid",
    "reserves": "per request, ranked by the run, over reserve prices",
    "budgets": "under budgets, per request",
}
SWITCH = {"true": True, "false": False}


def run(arguments: Arguments) -> int:
    """Sell, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    for name, title in TITLES.items():
        content = record.tables[name]
        table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
        for number, heading in enumerate(content["columns"]):
            table.add_column(heading.replace("_", " "), no_wrap=not number)
        for row in content["rows"]:
            table.add_row(*map(_cell, row))
        Screen().print(table)
    for note in record.notes:
        say(f"note: {note}")
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {name: keys[name] for name in ("pays", "payment", "advertiser", "candidates")}
    for name in ("slots", "depth", "requests"):
        found[name] = None if keys[name] == "" else _number(name, keys[name], whole=True)
    found["budget_share"] = _number("budget_share", keys["budget_share"])
    found["decay"] = None if keys["decay"] == "" else _number("decay", keys["decay"])
    found["reserve"] = None if keys["reserve"] == "auto" else _number("reserve", keys["reserve"])
    if keys["one_each"].lower() not in SWITCH:
        raise ConfigError(f"one_each={keys['one_each']} must be true or false.")
    return found | {"one_each": SWITCH[keys["one_each"].lower()]}


def carried_out(keys: dict[str, str]) -> DecisionRecord:
    """Sell by all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, or no one bids.
        DataError: if the bids cannot be read.
        RunError: if it is no finished run, or the folder has something in it.
    """
    from funneltune.decisions.ads import Settings, best_reserve, mean_conversion, read_market, sell, simulated_market
    from funneltune.decisions.ads.record import record_of, write
    from funneltune.decisions.scorer import Scorer

    settings = Settings(**settings_of(keys))
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    scorer = Scorer.of_run(Path(keys["run"]), keys["calibration"] or None)
    conversion = mean_conversion(scorer)
    if keys["bids"]:
        market = read_market(Path(keys["bids"]), scorer, settings.advertiser)
    else:
        market = simulated_market(scorer, settings.advertiser, settings.pays, conversion)
    reserve = best_reserve(scorer, market, settings) if settings.reserve is None else settings.reserve
    sold = sell(scorer, market, settings, reserve)
    record = record_of(sold, keys["run"], keys["bids"])
    record.settings["calibration"] = scorer.calibration
    if output is not None:
        write(record, sold, output)
    return record


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _number(name: str, text: str, whole: bool = False) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ConfigError(f"{name}={text} must be {'a whole number' if whole else 'a number'}.") from None


VERB = Verb(
    name="ads",
    summary="sponsored places, sold by bids and predicted chances: revenue, reserves, budgets",
    usage="funneltune ads run=PATH [bids=FILE] [slots=4] [pays=click|purchase] [reserve=auto] [output=FOLDER]",
    examples=(
        "funneltune ads run=runs/quickstart/2026-01-31_12-00-00 slots=3 reserve=auto",
        "funneltune ads run=runs/quickstart/2026-01-31_12-00-00 bids=bids.csv pays=purchase payment=vcg output=ads",
    ),
    run=run,
    keys={
        "run": "folder of a finished run that predicts clicks and purchases",
        "bids": "CSV, Parquet or JSON lines: item, bid, if known value (of a purchase), budget (of the advertiser); "
        "default: as the marketplace's sellers would bid",
        "slots": "sponsored places of a page (default 4), no more than items compete",
        "pays": "what an advertiser pays for: click (default; ranked by bid x ctr) or purchase (by bid x ctcvr)",
        "payment": "second (generalised second price, default), vcg, first",
        "reserve": "the least price of a click or purchase (default 0); auto: what takes most on validation requests",
        "advertiser": "column of the items that says whose they are (default seller)",
        "candidates": "which items compete: logged (default), lexical, semantic, collaborative, popular, hybrid",
        "depth": "how many a way of finding brings (default 50)",
        "requests": "only the test split's first so many (default: all)",
        "budget_share": "without budgets in the file: each has this share of what it would spend (default 0.5)",
        "decay": "a place is looked at with place ** -decay (default: as the marketplace does, else 0)",
        "one_each": "an advertiser has one place of a page at most (default true)",
        "calibration": "none, temperature, platt, isotonic (default: as the run's config says)",
        "output": "a new folder for decision.json and the picture (default: print only)",
    },
)
