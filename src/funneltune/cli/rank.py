"""`funneltune rank`: the items of a run's log, best first, for a query."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.verb import Verb
from funneltune.errors import ConfigError


def run(arguments: Arguments) -> int:
    """Load the run, encode its items if that was not done yet, rank, print."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH", "query": "WORDS"}, {"by": "", "top": "10"})
    if not keys["top"].isdecimal() or int(keys["top"]) < 1:
        raise ConfigError(f"top={keys['top']} must be a whole number, 1 or more.")
    from funneltune.decisions import Ranker

    ranked = Ranker.of_run(Path(keys["run"])).rank(keys["query"], by=keys["by"], top=int(keys["top"]))
    table = Table("", "item", "title", *(ranked[0].p if ranked else ()))
    for place, one in enumerate(ranked, start=1):
        table.add_row(str(place), one.item, one.title, *(f"{p:.4f}" for p in one.p.values()))
    Console().print(table)
    return 0


VERB = Verb(
    name="rank",
    summary="the items of a run's log, best first, for a query",
    usage='funneltune rank run=PATH query="WORDS" [by=ctcvr] [top=10]',
    examples=('funneltune rank run=runs/quickstart/2026-01-31_12-00-00 query="red running shoes" by=ctr',),
    run=run,
    keys={
        "run": "folder of a trained run with backbone.interaction=twin and features=none",
        "query": "the words of a search",
        "by": "the rate that decides (default: the last of the funnel, ctcvr)",
        "top": "how many items (default 10)",
    },
)
