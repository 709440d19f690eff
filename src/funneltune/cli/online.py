"""`funneltune online`: policies that go on learning, against the run as it is, while tastes move."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

if TYPE_CHECKING:
    from funneltune.records import DecisionRecord

DEFAULTS = {
    "policies": "static,greedy,thompson,incremental",
    "requests": "2000",
    "seeds": "0,1,2",
    "taste_shift": "1.0",
    "page": "10",
    "candidates": "60",
    "every": "100",
    "window": "300",
    "components": "32",
    "spread": "0.2",
    "half_life": "500",
    "epsilon": "0.1",
    "rate": "0.3",
    "steps": "2",
    "replay": "0.5",
    "sessions": "0",
    "output": "",
}


def run(arguments: Arguments) -> int:
    """Draw requests, run the policies, print, write."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    folder = Path(keys["run"])
    output = Path(keys["output"]) if keys["output"] else folder / "online"
    watched = sys.stderr.isatty()

    def tell(line: str) -> None:
        if watched:
            sys.stderr.write(f"{line}\n")

    found = carried_out(folder, output, settings_of(keys), tell)
    for name, content in found.tables.items():
        if name == "share_of_oracle":
            continue
        table = Table(title=name)
        for number, heading in enumerate(content["columns"]):
            table.add_column(heading.replace("_", " "), no_wrap=not number)
        for row in content["rows"]:
            table.add_row(*("-" if cell is None else cell if isinstance(cell, str) else f"{cell:.4g}" for cell in row))
        Screen().print(table)
    for note in found.notes:
        say(f"note: {note}")
    say(f"record: {output / 'decision.json'}")
    return 0


def settings_of(keys: dict[str, str]) -> dict[str, Any]:
    """The keys' values.

    Raises:
        ConfigError: naming the first that is not of its kind.
    """
    found: dict[str, Any] = {"policies": [name.strip() for name in keys["policies"].split(",")]}
    found["seeds"] = [_number("seeds", part.strip(), int) for part in keys["seeds"].split(",")]
    for name in ("requests", "page", "candidates", "every", "window", "components", "steps", "sessions"):
        found[name] = _number(name, keys[name], int)
    for name in ("taste_shift", "spread", "epsilon", "rate", "replay"):
        found[name] = _number(name, keys[name], float)
    found["half_life"] = None if keys["half_life"] == "none" else _number("half_life", keys["half_life"], float)
    return found


def carried_out(
    folder: Path, output: Path, settings: dict[str, Any], tell: Callable[[str], None] = lambda _: None
) -> DecisionRecord:
    """Compare and write the record."""
    from funneltune.decisions.online.study import study

    require_new(output)
    return study(folder, output, settings, tell)


def _number(name: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{name}={text} must be {wanted}.") from None


VERB = Verb(
    name="online",
    summary="policies that go on learning against the run as it is, while tastes move",
    usage="funneltune online run=PATH [policies=static,thompson,...] [requests=2000] [seeds=0,1,2] [output=FOLDER]",
    examples=(
        "funneltune online run=runs/quickstart/2026-01-31_12-00-00 policies=static,greedy,thompson half_life=500",
        "funneltune online run=runs/quickstart/2026-01-31_12-00-00 policies=incremental rate=0.1 seeds=0",
        "funneltune online run=runs/quickstart/2026-01-31_12-00-00 policies=static sessions=4000",
    ),
    run=run,
    keys={
        "run": "folder of a trained run on a log of the marketplace, with the tasks click and purchase",
        "policies": "static, greedy, epsilon, thompson, thompson_diagonal, incremental, random",
        "requests": "of each seed; tastes shift after half of them (default 2000)",
        "seeds": "of requests, outcomes and draws; intervals are over seeds (default 0,1,2)",
        "taste_shift": "how far tastes move, 0 to 1 (default 1.0)",
        "page": "items that a request is shown (default 10)",
        "candidates": "items that each request's page is chosen from, the same for all policies (default 60)",
        "every": "requests from one update to the next (default 100)",
        "window": "requests that recovery's moving mean is taken over (default 300)",
        "components": "bandits: principal components of item texts and pictures that corrections read (default 32)",
        "spread": "bandits: the prior's standard deviation of a correction, in logits (default 0.2)",
        "half_life": "bandits: requests after which what was learnt counts half (default 500; none: for ever)",
        "epsilon": "epsilon: chance of a place to go to any candidate (default 0.1)",
        "rate": "incremental: times the run's learning rates (default 0.3)",
        "steps": "incremental: optimizer steps of an update, of 10 requests each (default 2)",
        "replay": "incremental: weight of the loss of old rows beside that of new ones (default 0.5)",
        "sessions": "compare policies over whole sessions too, on as many sessions of each seed (default 0: not)",
        "output": "a new folder for decision.json and the picture (default: online in the run's folder)",
    },
)
