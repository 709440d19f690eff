"""`funneltune personas`: groups of shoppers who like and buy alike, or the word that there are none."""

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
    "k": "auto",
    "method": "kmeans",
    "map": "pca",
    "min_size": "20",
    "past": "20",
    "most": "5000",
    "blocks": "tastes,prices,categories,rates,words",
    "explained": "0.8",
    "max_k": "8",
    "bootstraps": "20",
    "nulls": "39",
    "seed": "0",
    "output": "",
}
TITLES = {
    "personas": "personas",
    "likes": "what sets them apart",
    "numbers_tried": "how many there are",
    "blocks": "what tells shoppers apart",
}
WHOLE = ("min_size", "past", "most", "max_k", "bootstraps", "nulls", "seed")


def run(arguments: Arguments) -> int:
    """Group, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    record = carried_out(keys)
    for name, title in TITLES.items():
        content = record.tables[name]
        if not content["rows"]:
            continue
        table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
        for number, heading in enumerate(content["columns"]):
            table.add_column(heading.replace("_", " "), no_wrap=not number)
        for row in content["rows"]:
            table.add_row(*map(_cell, row))
        Screen().print(table)
    for note in record.notes:
        say(f"note: {note}")
    if keys["output"]:
        say(f"shoppers: {Path(keys['output']) / 'shoppers.csv'}")
        say(f"record: {Path(keys['output']) / 'decision.json'}")
    return 0


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {name: _number(name, keys[name], whole=True) for name in WHOLE}
    found |= {"method": keys["method"], "map": keys["map"], "explained": _number("explained", keys["explained"])}
    found["blocks"] = tuple(part.strip() for part in keys["blocks"].split(",") if part.strip())
    return found | {"k": None if keys["k"] == "auto" else _number("k", keys["k"], whole=True)}


def carried_out(keys: dict[str, str]) -> DecisionRecord:
    """Group by all keys of the command, and write where `output` names a folder.

    Raises:
        ConfigError: if a setting is out of range, or UMAP is not installed.
        DataError: if the log tells no shoppers, or too few have a past.
        RunError: if it is no finished run, or the folder has something in it.
    """
    from funneltune.decisions.personas import Settings, personas
    from funneltune.decisions.personas.record import record_of, write
    from funneltune.decisions.scorer import Scorer

    settings = Settings(**settings_of(keys))
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    found = personas(Scorer.of_run(Path(keys["run"])), settings)
    record = record_of(found, keys["run"])
    if output is not None:
        write(record, found, output)
    return record


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _number(name: str, text: str, whole: bool = False) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        wanted = "a whole number, or auto" if name == "k" else "a whole number" if whole else "a number"
        raise ConfigError(f"{name}={text} must be {wanted}.") from None


VERB = Verb(
    name="personas",
    summary="groups of shoppers who like and buy alike, or the word that there are none",
    usage="funneltune personas run=PATH [k=auto] [method=kmeans|hdbscan] [map=pca|umap] [output=FOLDER]",
    examples=(
        "funneltune personas run=runs/loyal output=personas",
        "funneltune personas run=runs/loyal k=4 map=umap blocks=tastes,prices past=10",
    ),
    run=run,
    keys={
        "run": "folder of a finished run; its log tells who shopped",
        "k": "how many; auto (default): as many as silhouette and stability say, or none",
        "method": "kmeans (default) or hdbscan, which leaves shoppers between groups without one",
        "map": "how shoppers are laid on a plane: pca (default) or umap",
        "min_size": "fewest shoppers of a persona, and behind a rate; smaller groups join the nearest (default 20)",
        "past": "fewest clicks before the test split of a shopper who is grouped (default 20)",
        "most": "most shoppers that are grouped, drawn at random (default 5000)",
        "blocks": "what tells shoppers apart: tastes, prices, categories, rates, words (default: these), activity",
        "explained": "share of the vectors' variance that the components keep (default 0.8)",
        "max_k": "most personas that are tried (default 8)",
        "bootstraps": "re-clusterings behind a stability (default 20)",
        "nulls": "sets of shoppers without groups that the real ones are held against (default 39)",
        "seed": "of all that is drawn (default 0)",
        "output": "a new folder for decision.json, the picture and shoppers.csv (default: print only)",
    },
)
