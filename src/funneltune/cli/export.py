"""`funneltune export`: a trained run as a merged backbone, safetensors, ONNX graphs and int8 ones, held to the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from funneltune.cli.arguments import Arguments
from funneltune.cli.terminal import Screen
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError

if TYPE_CHECKING:
    from funneltune.records import DecisionRecord


def run(arguments: Arguments) -> int:
    """Export, check, time, print what was measured."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH"}, {"to": "all", "output": "", "check": "true", "repeats": ""})
    if keys["check"] not in ("true", "false"):
        raise ConfigError(f"check={keys['check']} must be true or false.")
    if keys["repeats"] and not (keys["repeats"].isascii() and keys["repeats"].isdecimal()):
        raise ConfigError(f"repeats={keys['repeats']} must be a whole number, 0 or more; 0 times nothing.")
    from funneltune.decisions.export import REPEATS, export

    folder = Path(keys["run"])
    output = Path(keys["output"]) if keys["output"] else folder / "export"
    repeats = int(keys["repeats"]) if keys["repeats"] else REPEATS
    record = export(folder, output, keys["to"], check=keys["check"] == "true", repeats=repeats)
    _show(record)
    say(f"record: {output / 'decision.json'}")
    return 0


def _show(record: DecisionRecord) -> None:
    console = Screen()
    held = [(n, told) for n, told in record.numbers.items() if n.endswith("/largest_difference")]
    if held:
        table = Table("form", "largest difference", "allowed", "rows", title="held to the run in float32")
        for name, told in held:
            allowed = told["protocol"]["tolerance"]
            table.add_row(
                name.partition("/")[0],
                f"{told['value']:.2g}",
                "-" if allowed is None else f"{allowed:g}",
                str(told["protocol"]["rows"]),
            )
        console.print(table)
    for name, content in record.tables.items():
        table = Table(*content["columns"], title=name)
        for row in content["rows"]:
            table.add_row(*map(_cell, row))
        console.print(table)
    for note in record.notes:
        say(f"note: {note}")


def _cell(value: Any) -> str:
    if value is None:
        return "undefined"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


VERB = Verb(
    name="export",
    summary="a trained run as merged backbone, safetensors, ONNX and int8",
    usage="funneltune export run=PATH [to=all] [output=FOLDER] [check=true] [repeats=50]",
    examples=(
        "funneltune export run=runs/quickstart/2026-01-31_12-00-00",
        "funneltune export run=runs/quickstart/2026-01-31_12-00-00 to=merged output=backbones/quickstart",
    ),
    run=run,
    keys={
        "run": "folder of a trained run",
        "to": "merged (a Hugging Face folder), safetensors, onnx, int8, or all that the run has (default all)",
        "output": "folder to make (default: export in the run's); one that exists is refused",
        "check": "false: do not hold it to the run on the test rows (default true; exit status 1 where they differ)",
        "repeats": "timed calls of each engine, of checked graphs (default 50; 0: none)",
    },
)
