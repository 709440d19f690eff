"""`funneltune demand`: purchases per item and day, by a run and by forecasting, against the days held out."""

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
    "by": "item",
    "days": "14",
    "level": "0.9",
    "traffic": "forecast",
    "traffic_model": "weekday",
    "baselines": "croston,ets",
    "calibration": "",
    "output": "",
}
TITLES = {"ways": "on the held-out days, by who forecasts", "series": "the series that the run expects most of"}


def run(arguments: Arguments) -> int:
    """Forecast, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    show(record, TITLES)
    if keys["output"]:
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def carried_out(keys: dict[str, str]) -> DecisionRecord:
    """Forecast by all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, the run or its log cannot be used, or a package is missing.
        RunError: if it is no finished run, or the folder has something in it.
    """
    from funneltune.decisions.scorer import Scorer
    from funneltune.decisions.stocking import DemandSettings, forecast_demand
    from funneltune.decisions.stocking.demand_record import demand_record, write_demand

    settings = DemandSettings(
        by=keys["by"],
        days=int(number("days", keys["days"], whole=True)),
        level=number("level", keys["level"]),
        traffic=keys["traffic"],
        traffic_model=keys["traffic_model"],
        baselines=words(keys["baselines"]),
    )
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    scorer = Scorer.of_run(Path(keys["run"]), keys["calibration"] or None)
    found = forecast_demand(scorer, settings)
    record = demand_record(found, keys["run"])
    record.settings["calibration"] = scorer.calibration
    if output is not None:
        write_demand(record, found, output)
    return record


def show(record: DecisionRecord, titles: dict[str, str]) -> None:
    """Print some of a record's tables, then its notes."""
    for name, title in titles.items():
        content = record.tables[name]
        if not content["rows"]:
            continue
        table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
        for heading in content["columns"]:
            table.add_column(heading.replace("_", " "), no_wrap=heading not in ("way", "reason"))
        for row in content["rows"]:
            table.add_row(*map(_cell, row))
        Screen().print(table)
    for note in record.notes:
        say(f"note: {note}")


def words(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def number(name: str, text: str, whole: bool = False) -> float:
    """A key's number.

    Raises:
        ConfigError: if it is none.
    """
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ConfigError(f"{name}={text} must be {'a whole number' if whole else 'a number'}.") from None


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


VERB = Verb(
    name="demand",
    summary="purchases per item and day, with intervals, against forecasting on held-out days",
    usage="funneltune demand run=PATH [by=item|category|COLUMN] [days=14] [level=0.9] [output=FOLDER]",
    examples=(
        "funneltune demand run=runs/quickstart/2026-01-31_12-00-00 by=category",
        "funneltune demand run=runs/quickstart/2026-01-31_12-00-00 traffic=known baselines=arima output=demand",
    ),
    run=run,
    keys={
        "run": "folder of a finished run that predicts purchases on a log that is cut by time",
        "by": "item (default), or a column of the items: category, brand, seller",
        "days": "held-out days that are judged, at most, and days ahead that are forecast (default 14)",
        "level": "of the intervals (default 0.9)",
        "traffic": "whose forecasts are written and judged: forecast (impressions too are forecast, default), known "
        "(the held-out days' own impressions)",
        "traffic_model": "how impressions are forecast: weekday (mean of four weeks' same weekday, default), naive "
        "(last week's), ets",
        "baselines": "of statsforecast: croston,ets (default), arima; or none",
        "calibration": "none, temperature, platt, isotonic (default: as the run's config says)",
        "output": "a new folder for decision.json, demand.csv and the picture (default: print only)",
    },
)
