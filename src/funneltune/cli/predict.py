"""`funneltune predict`: a trained run's probabilities for the rows of a new table."""

from __future__ import annotations

from pathlib import Path

from funneltune.cli.arguments import Arguments
from funneltune.cli.verb import Verb, say
from funneltune.errors import DataError


def run(arguments: Arguments) -> int:
    """Load the run, predict, write."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH", "input": "FILE", "output": "FILE"}, {"calibration": ""})
    folder, source, target = Path(keys["run"]), Path(keys["input"]), Path(keys["output"])
    if not source.is_file():
        raise DataError(f"input={source} is not a file; give a CSV or Parquet table with the columns of the run's log.")
    from funneltune import runs

    say(f"{runs.predict(folder, source, target, keys['calibration'] or None)} rows: {target}")
    return 0


VERB = Verb(
    name="predict",
    summary="a trained run's probabilities for a new table, row by row",
    usage="funneltune predict run=PATH input=FILE output=FILE [calibration=METHOD]",
    examples=("funneltune predict run=runs/homedepot/2026-01-31_12-00-00 input=pairs.csv output=predictions.parquet",),
    run=run,
    keys={
        "run": "folder of a trained run",
        "input": "CSV or Parquet with the columns of the run's log; no labels, nor numbers that no feature reads",
        "output": "file to write: row, user, query, item, p_...; one that exists is refused",
        "calibration": "none, temperature, platt or isotonic, as fitted on the run's validation rows (default: the "
        "run's calibration.use)",
    },
)
