"""`funneltune abtest`: two rankings against one another, on shoppers of the marketplace."""

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
    "by": "",
    "by_b": "",
    "requests": "4000",
    "metric": "purchases",
    "power": "0.8",
    "seeds": "0,1,2",
    "candidates": "100",
    "looks": "20",
    "trials": "1000",
    "output": "",
}
TITLES = {
    "arms": "in truth, per request",
    "experiment": "the first seed's experiment, per shopper",
    "seeds": "the experiments",
    "plan": "the plan",
    "deciding": "share of simulated experiments that find a difference, by how one decides",
    "winner": "requests with which each names the true winner 80% of the time",
}


def run(arguments: Arguments) -> int:
    """Compare, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run_a": "PATH", "run_b": "PATH"}, DEFAULTS)
    output = Path(keys["output"]) if keys["output"] else None
    record = carried_out(Path(keys["run_a"]), keys["run_b"], settings_of(keys), output)
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
    if output is not None:
        say(f"record: {output / 'decision.json'}")
    return 0


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {name: keys[name] for name in ("by", "by_b", "metric")}
    found["seeds"] = tuple(int(_number("seeds", part.strip(), whole=True)) for part in keys["seeds"].split(","))
    for name in ("requests", "candidates", "looks", "trials"):
        found[name] = int(_number(name, keys[name], whole=True))
    return found | {"power": _number("power", keys["power"])}


def carried_out(run_a: Path, run_b: str, settings: dict[str, Any], output: Path | None) -> DecisionRecord:
    """Compare, and write where there is a folder to write to.

    Raises:
        ConfigError: if the folder has something in it, a setting is out of range, or the runs are not of one world.
    """
    from funneltune.decisions.abtest import Settings, abtest
    from funneltune.decisions.abtest.record import record_of, write

    asked = Settings(**settings)
    if output is not None:
        require_new(output)
    found = abtest(run_a, run_b, asked)
    record = record_of(found, str(run_a), run_b)
    if output is not None:
        write(record, found, output)
    return record


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return "never" if math.isinf(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def _number(name: str, text: str, whole: bool = False) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ConfigError(f"{name}={text} must be {'a whole number' if whole else 'a number'}.") from None


VERB = Verb(
    name="abtest",
    summary="two rankings against one another, on shoppers of the marketplace",
    usage="funneltune abtest run_a=PATH run_b=PATH|random|popularity|bm25|oracle [metric=purchases] [output=FOLDER]",
    examples=(
        "funneltune abtest run_a=runs/quickstart/2026-01-31_12-00-00 run_b=bm25",
        "funneltune abtest run_a=runs/quickstart/2026-01-31_12-00-00 run_b=runs/quickstart/2026-01-31_12-00-00 "
        "by_b=revenue metric=revenue",
    ),
    run=run,
    keys={
        "run_a": "folder of a trained run on a log of the marketplace",
        "run_b": "folder of another run of the same world (or the same run), or random, popularity, bm25, oracle",
        "by": "what run_a ranks by: a rate, revenue, or weights: '0.2*ctr + 0.8*ctcvr' (default: its last rate, ctcvr)",
        "by_b": "what run_b or the oracle ranks by (default: as run_a)",
        "requests": "searches of the experiment, of shoppers whom a coin sends to an arm (default 4000)",
        "metric": "what decides, per shopper: purchases (default), clicks, revenue, satisfaction",
        "power": "with which a true difference is to be found (default 0.8)",
        "seeds": "experiments, each with coins and luck of its own; the first draws the requests (default 0,1,2)",
        "candidates": "items of each request that both arms choose from (default 100)",
        "looks": "how often one looks before the end (default 20)",
        "trials": "simulated experiments behind each share (default 1000)",
        "output": "a new folder for decision.json and the picture (default: print only)",
    },
)
