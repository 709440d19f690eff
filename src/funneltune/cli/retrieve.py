"""`funneltune retrieve`: how well ways of finding items do on a run's log, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

DEFAULTS = {
    "ways": "lexical,semantic,hybrid",
    "ranker": "",
    "by": "",
    "split": "test",
    "k": "100",
    "depth": "200",
    "seen": "100",
    "weight": "0.5",
    "weights": "",
    "most": "0",
    "output": "",
}

MOST = 1_000_000
"""Of items found, and of requests."""


def run(arguments: Arguments) -> int:
    """Find, measure, print; write where a folder is named."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, DEFAULTS)
    numbers = {name: _whole(name, keys[name], 0 if name == "most" else 1) for name in ("k", "depth", "seen", "most")}
    weight = _number("weight", keys["weight"])
    weights = _weights(keys["weights"])
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output)
    from funneltune.decisions.candidates.measure import measure_retrieval
    from funneltune.decisions.candidates.named import RANKS, ways_of
    from funneltune.decisions.candidates.picture import draw
    from funneltune.decisions.scorer import Scorer

    scorer = Scorer.of_run(Path(keys["run"]))
    ranker = Scorer.of_run(Path(keys["ranker"])) if keys["ranker"] else scorer
    names = [name.strip() for name in keys["ways"].split(",")]
    ways = ways_of(
        scorer,
        names,
        ranker=ranker,
        by=keys["by"],
        depth=numbers["depth"],
        seen=numbers["seen"],
        weight=weight,
        weights=weights,
    )
    asked: dict[str, Any] = {"depth": numbers["depth"], "weights": weights}
    if RANKS & set(names):
        asked |= {
            "seen": numbers["seen"],
            "ranker": str(ranker.folder),
            "by": keys["by"] or ranker.rates[-1],
            "weight": weight,
            "calibration": ranker.calibration,
        }
    record = measure_retrieval(scorer, ways, keys["split"], numbers["k"], numbers["most"] or None, asked)
    metrics = list(dict.fromkeys(name.partition("/")[2] for name in record.numbers))
    table = Table("way", *metrics)
    for way in ways:
        told = [record.numbers[f"{way}/{metric}"] for metric in metrics]
        table.add_row(way, *map(_cell, told))
    Screen().print(table)
    for note in record.notes:
        say(f"note: {note}")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        say(f"record: {record.write(output)}")
        say(f"picture: {draw(record, output)}")
    return 0


def _cell(told: Mapping[str, Any]) -> str:
    if not math.isfinite(told["low"]):
        return f"{told['value']:.4f}"
    return f"{told['value']:.4f} ({told['low']:.4f} to {told['high']:.4f})"


def _whole(name: str, value: str, least: int) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 19) or not least <= int(value) <= MOST:
        raise ConfigError(f"{name}={value} must be a whole number, {least} or more, and at most {MOST:,}.")
    return int(value)


def _number(name: str, value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ConfigError(f"{name}={value} must be a number.")
    return found


def _weights(text: str) -> dict[str, float]:
    """`lexical:2,semantic:0.5`."""
    parts = [part.partition(":") for part in text.split(",") if part.strip()]
    return {name.strip(): _number(f"weights: {name.strip()}", value) for name, _, value in parts}


VERB = Verb(
    name="retrieve",
    summary="how well ways of finding items do on a run's log",
    usage="funneltune retrieve run=PATH [ways=lexical,semantic,hybrid] [split=test] [k=100] [output=FOLDER]",
    examples=(
        "funneltune retrieve run=runs/homedepot/2026-01-31_12-00-00 ways=lexical,semantic,bare,hybrid,ranked,blended",
    ),
    run=run,
    keys={
        "run": "folder of a trained run",
        "ways": "of lexical, semantic, bare, collaborative, als, popular; hybrid fuses those named by ranks (where "
        "none is: as rank does), convex by scores; ranked is the fused one's first in the run's order, blended both; "
        "the last is held against the others",
        "ranker": "folder of another run that ranks (default: the same)",
        "by": "the rate that ranks (default: the last of the funnel, ctcvr)",
        "split": "test or validation (default test)",
        "k": "length of the lists (default 100)",
        "depth": "items that single ways bring where they are fused (default 200)",
        "seen": "items that are ranked anew, those behind stay there (default 100)",
        "weight": "of the ranker in blended, 0 to 1 (default 0.5)",
        "weights": "of single ways where they are fused: lexical:2,semantic:0.5 (default 1 each)",
        "most": "only the first so many requests (default 0: all)",
        "output": "folder to make, for decision.json and a picture; one that exists is refused",
    },
)
