"""`funneltune embed`: queries, items or shoppers to a run's vectors."""

from __future__ import annotations

from pathlib import Path

from funneltune.cli.arguments import Arguments
from funneltune.cli.verb import Verb, say
from funneltune.files import require_new


def run(arguments: Arguments) -> int:
    """Load the run, encode, write."""
    arguments.only_word("run")
    keys = arguments.keys({"run": "PATH", "output": "FILE"}, {"input": "", "what": "queries"})
    from funneltune.decisions.embedding import FORMATS, embed_file
    from funneltune.decisions.scorer import Scorer

    target = Path(keys["output"])
    require_new(target, FORMATS)
    found = embed_file(Scorer.of_run(Path(keys["run"])), keys["what"], Path(keys["input"]) if keys["input"] else None)
    found.write(target)
    say(f"{len(found.keys):,} vectors of {found.vectors.shape[1]} numbers: {target}")
    return 0


VERB = Verb(
    name="embed",
    summary="queries, items or shoppers to a run's vectors",
    usage="funneltune embed run=PATH [input=FILE] output=FILE [what=queries|items|users]",
    examples=(
        "funneltune embed run=runs/quickstart/2026-01-31_12-00-00 what=items output=items.parquet",
        "funneltune embed run=runs/quickstart/2026-01-31_12-00-00 input=queries.csv output=queries.npz",
    ),
    run=run,
    keys={
        "run": "folder of a trained run",
        "input": "CSV, Parquet or JSON lines: query; item, or the fields of new items (title, ...); user and time "
        "(default: all that the run's log holds)",
        "output": "file to write, .parquet (key, vector) or .npz (keys, vectors); one that exists is refused",
        "what": "queries, items or users (default queries)",
    },
)
