"""`funneltune stock`: what to order of each item, and what ordering so would have cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from funneltune.cli.arguments import Arguments
from funneltune.cli.demand import number, show, words
from funneltune.cli.verb import Verb, say
from funneltune.files import require_new

if TYPE_CHECKING:
    from funneltune.records import DecisionRecord

DEFAULTS = {
    "holding_cost": "0.02",
    "shortage_cost": "1",
    "service_level": "",
    "lead_time": "7",
    "review": "7",
    "on_hand": "",
    "sold_out": "",
    "traffic_model": "weekday",
    "baselines": "croston",
    "calibration": "",
    "output": "",
}
TITLES = {"orders": "the largest orders", "ways": "on held-out days, a day, by who forecasts"}


def run(arguments: Arguments) -> int:
    """Order, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    show(record, TITLES)
    if keys["output"]:
        say(f"orders: {Path(keys['output']) / 'orders.csv'}")
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def carried_out(keys: dict[str, str]) -> DecisionRecord:
    """Order by all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, the run or its log cannot be used, or a package is missing.
        DataError: if the shelves cannot be read.
        RunError: if it is no finished run, or the folder has something in it.
    """
    from funneltune.decisions.scorer import Scorer
    from funneltune.decisions.stocking import StockSettings, plan
    from funneltune.decisions.stocking.stock_record import stock_record, write_stock

    level = keys["service_level"]
    settings = StockSettings(
        holding_cost=number("holding_cost", keys["holding_cost"]),
        shortage_cost=number("shortage_cost", keys["shortage_cost"]),
        service_level=number("service_level", level) if level else None,
        lead_time=int(number("lead_time", keys["lead_time"], whole=True)),
        review=int(number("review", keys["review"], whole=True)),
        traffic_model=keys["traffic_model"],
        baselines=words(keys["baselines"]),
    )
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    scorer = Scorer.of_run(Path(keys["run"]), keys["calibration"] or None)
    on_hand, sold_out = keys["on_hand"], keys["sold_out"]
    found = plan(scorer, settings, Path(on_hand) if on_hand else None, sold_out or None)
    record = stock_record(
        found, keys["run"], on_hand, sold_out or ("ignore" if found.sold_out is None else "the world's")
    )
    record.settings["calibration"] = scorer.calibration
    if output is not None:
        write_stock(record, found, output)
    return record


VERB = Verb(
    name="stock",
    summary="what to order of each item by predicted purchases, and what it would have cost",
    usage="funneltune stock run=PATH [holding_cost=0.02] [shortage_cost=1] [service_level=..] [lead_time=7] [review=7] "
    "[on_hand=FILE] [sold_out=FILE] [output=FOLDER]",
    examples=(
        "funneltune stock run=runs/quickstart/2026-01-31_12-00-00 lead_time=3 review=7 output=orders",
        "funneltune stock run=runs/quickstart/2026-01-31_12-00-00 on_hand=shelves.csv service_level=0.95",
    ),
    run=run,
    keys={
        "run": "folder of a finished run that predicts purchases on a log that is cut by time",
        "holding_cost": "of a piece that is left on the shelf at a day's end (default 0.02)",
        "shortage_cost": "of a piece that is wanted and not there (default 1): its margin, say",
        "service_level": "chance that the shelf lasts until the next order arrives (default: what the costs say)",
        "lead_time": "days from an order to its arrival (default 7)",
        "review": "days from one order to the next (default 7)",
        "on_hand": "CSV, Parquet or JSON lines: item, on_hand, if known on_order, holding_cost, shortage_cost "
        "(default: empty shelves)",
        "sold_out": "CSV, Parquet or JSON lines of days without stock: item, day; or ignore (default: as the "
        "marketplace records, else ignore)",
        "traffic_model": "how impressions are forecast: weekday (mean of four weeks' same weekday, default), naive "
        "(last week's), ets",
        "baselines": "of statsforecast: croston (default), ets, arima; or none",
        "calibration": "none, temperature, platt, isotonic (default: as the run's config says)",
        "output": "a new folder for orders.csv, decision.json and the picture (default: print only)",
    },
)
