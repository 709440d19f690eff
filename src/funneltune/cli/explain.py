"""`funneltune explain`: why a run gives an item its probability, for a request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError
from funneltune.files import require_new

if TYPE_CHECKING:
    from funneltune.decisions.explanations import Explanation

OPTIONAL = {
    "query": "",
    "item": "",
    "user": "",
    "split": "",
    "row": "",
    "rate": "",
    "steps": "auto",
    "what_if": "",
    "calibration": "",
    "output": "",
}
SHOWN = 12
"""Pushes that the terminal shows."""


def run(arguments: Arguments) -> int:
    """Explain, then write the page or the JSON, or print."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, OPTIONAL)
    output = Path(keys["output"]) if keys["output"] else None
    if output is not None:
        require_new(output, (".html", ".json"))
    row = whole("row", keys["row"]) if keys["row"] else None
    steps = None if keys["steps"] == "auto" else whole("steps", keys["steps"])
    from funneltune.decisions.explanations import explained, parse_what_if, write

    told = explained(
        Path(keys["run"]),
        query=keys["query"],
        item=keys["item"],
        user=keys["user"],
        split=keys["split"],
        row=row,
        rate=keys["rate"],
        steps=steps,
        what_if=parse_what_if(keys["what_if"]),
        calibration=keys["calibration"] or None,
    )
    if output is None:
        _show(told)
    else:
        say(f"explanation: {write(told, output)}")
    return 0


def whole(key: str, text: str) -> int:
    """A key's whole number.

    Raises:
        ConfigError: if it is none.
    """
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"{key}={text} must be a whole number{', or auto' if key == 'steps' else ''}.")
    return int(text)


def _show(told: Explanation) -> None:
    console = Screen()
    console.print(told.sentence)
    table = Table("input", "value", "push")
    pushes = [(word.text, word.role, word.push) for word in told.words if word.read]
    pushes += [(one.name, one.value, one.push) for one in told.features]
    for name, value, push in sorted(pushes, key=lambda one: -abs(one[2]))[:SHOWN]:
        table.add_row(name, value, f"{push:+.3f}")
    console.print(table)
    if any(change.asked for change in told.changes):
        changes = Table("what if", "from", "to", f"{told.rate} then", "difference")
        for one in (change for change in told.changes if change.asked):
            changes.add_row(one.what, one.before, one.after, f"{one.p:.6f}", f"{one.difference:+.6f}")
        console.print(changes)
    sums = told.completeness
    held = "within" if sums.complete else "NOT within"
    say(f"pushes add up to {sums.value - sums.baseline:+.4f} ({sums.scale}): gap {sums.gap:+.5f}, {held} the tolerance")
    say(f"of {sums.tolerance:.5f} ({sums.steps} steps). output=FILE.html has evidence and what-ifs.")


VERB = Verb(
    name="explain",
    summary="why a run gives an item its probability: words, features, nearest evidence, what-ifs",
    usage='funneltune explain run=PATH query="WORDS" item=KEY [user=KEY] [rate=ctcvr] [output=FILE.html]',
    examples=(
        'funneltune explain run=runs/quickstart/2026-01-31_12-00-00 query="red shoes" item=item-000007 output=why.html',
        "funneltune explain run=runs/quickstart/2026-01-31_12-00-00 split=test row=5 rate=ctr what_if=price=9.99",
    ),
    run=run,
    keys={
        "run": "folder of any trained run",
        "query": "the words of a search",
        "item": "the log's identifier of the item",
        "user": "the log's identifier of the shopper (default: one whom the log does not know)",
        "split": "instead of query and item, an impression of the log: test (default), validation or train",
        "row": "... which of the split's rows, from 0",
        "rate": "what is explained (default: the last of the funnel, ctcvr)",
        "steps": "points of the path from nothing to the row; auto (default): until the pushes add up",
        "what_if": 'what to change beside what is tried unasked: "price=9.99; title=Red wool blanket"',
        "calibration": "none, temperature, platt or isotonic (default: the run's calibration.use)",
        "output": "file to write, .html or .json; one that exists is refused (default: print)",
    },
)
