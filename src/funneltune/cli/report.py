"""`funneltune report`: the table of any folder of records."""

from __future__ import annotations

from pathlib import Path

from funneltune.cli.arguments import Arguments
from funneltune.cli.verb import Verb
from funneltune.errors import ConfigError, RunError


def run(arguments: Arguments) -> int:
    """Print the table, and write it where `output` says, or beside the records."""
    word = arguments.only_word("folder of records")
    keys = arguments.keys({}, {"output": ""})
    if word is None:
        raise ConfigError("missing PATH: funneltune report PATH, the folder of a study, of runs or of records.")
    folder = Path(word)
    if not folder.is_dir():
        raise RunError(f"{word} is not a folder; give the folder of a study, of runs or of records.")
    from funneltune.reporting import report

    report(folder, Path(keys["output"]) if keys["output"] else None)
    return 0


VERB = Verb(
    name="report",
    summary="the table of a study, or of any folder of records",
    usage="funneltune report PATH [output=DIR]",
    examples=("funneltune report studies/quickstart output=tables",),
    run=run,
    keys={"output": "folder to write table.md, table.csv and report.html into (default: PATH itself)"},
)
