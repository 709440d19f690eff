"""`funneltune need`: the category that shoppers buy from next."""

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
    "user": "",
    "users": "",
    "query": "",
    "category": "",
    "top": "3",
    "places": "10",
    "depth": "300",
    "requests": "",
    "seed": "0",
    "calibration": "",
    "output": "",
}
TITLES = {
    "needs": "what shoppers buy from next",
    "prediction": "test requests, by what tells the next category; saved: log loss below that of popularity",
    "purchases": "lists without words: purchases that the marketplace expects, and more than without need",
    "bought": "the same: share that holds the shopper's next purchase",
    "truth": "against what the marketplace expects of each shopper",
}


def run(arguments: Arguments) -> int:
    """Fit, judge, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    for name, title in TITLES.items():
        if name not in record.tables:
            continue
        content = record.tables[name]
        table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
        for heading in content["columns"]:
            table.add_column(heading.replace("_", " "), no_wrap=True)
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
    found: dict[str, Any] = {"category": keys["category"] or None}
    for name in ("top", "places", "depth", "requests", "seed"):
        found[name] = None if keys[name] == "" else _whole(name, keys[name])
    return found


def carried_out(keys: dict[str, str]) -> DecisionRecord:
    """By all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, or the log tells no shopper, time or category.
        DataError: if too few buy again, or the shoppers' file cannot be read.
        RunError: if it is no finished run, or the folder has something in it.
    """
    from funneltune.decisions.need import Settings, asked_for, needs_of, study
    from funneltune.decisions.need.record import record_of, write
    from funneltune.decisions.scorer import Scorer

    settings = Settings(**settings_of(keys))
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    scorer = Scorer.of_run(Path(keys["run"]), keys["calibration"] or None)
    users = asked_for(scorer, keys["user"], Path(keys["users"]) if keys["users"] else None)
    found = study(scorer, settings)
    needs = needs_of(scorer, found, users, keys["query"])
    shown, asked = scorer.rows.shown, {"calibration": scorer.calibration}
    asked |= {"users": keys["users"]} if keys["users"] else {}
    asked |= {name: tell(keys[name]) for name, tell in (("user", shown.user), ("query", shown.query)) if keys[name]}
    record = record_of(found, needs, keys["run"], asked)
    if output is not None:
        write(record, found, needs, output)
    return record


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3g}"
    return str(value)


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name}={text} must be a whole number.") from None


VERB = Verb(
    name="need",
    summary="the category that shoppers buy from next, calibrated, and lists ranked by it",
    usage="funneltune need run=PATH [user=KEY | users=FILE] [query=WORDS] [category=COLUMN] [top=3] [output=FOLDER]",
    examples=(
        "funneltune need run=runs/loyal user=shopper-000012",
        "funneltune need run=runs/loyal category=domain places=20 output=need",
    ),
    run=run,
    keys={
        "run": "folder of a finished run whose log tells shoppers, times and what was bought",
        "user": "a shopper by the log's identifier",
        "users": "CSV, Parquet or JSON lines with a column user; one that the log does not know has no past (default: "
        "all who come in the test days)",
        "query": "as if each had just searched for these words",
        "category": "column of the items that is needed next (default: that of the run's own task, else category)",
        "top": "categories told of each shopper (default 3)",
        "places": "items of a list without words (default 10)",
        "depth": "candidates of these lists, the most clicked of the training (default 300)",
        "requests": "lists are judged on the test split's first so many requests (default: all)",
        "seed": "of the shuffled labels that the model is held against (default 0)",
        "calibration": "of the run's scores: none, temperature, platt, isotonic (default: as its config says)",
        "output": "a new folder for decision.json, the picture and needs.csv (default: print only)",
    },
)
