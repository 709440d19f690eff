"""`funneltune report`: the table of any folder of records, and the evidence of a study."""

from __future__ import annotations

from pathlib import Path

from funneltune.cli.arguments import Arguments
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError, RunError


def run(arguments: Arguments) -> int:
    """Print the table, and write it where `output` says, or beside the records; with `evidence`, keep what it needs."""
    word = arguments.only_word("folder of records")
    keys = arguments.keys({}, {"output": "", "evidence": "", "figures": ""})
    if word is None:
        raise ConfigError("missing PATH: funneltune report PATH, the folder of a study, of runs or of records.")
    folder = Path(word)
    if not folder.is_dir():
        raise RunError(f"{word} is not a folder; give the folder of a study, of runs or of records.")
    from funneltune.reporting import collect, report, report_decisions

    if keys["evidence"]:
        collect(folder, Path(keys["evidence"]))
    figures = [form.strip() for form in keys["figures"].strip("[]").split(",") if form.strip()]
    output = Path(keys["output"]) if keys["output"] else None
    page = report_decisions(folder, output)
    say(f"page: {page or report(folder, output, figures=figures).page}")
    return 0


VERB = Verb(
    name="report",
    summary="the page, tables and figures of a study, or of any folder of records",
    usage="funneltune report PATH [output=DIR] [figures=png,svg,pdf] [evidence=DIR]",
    examples=(
        "funneltune report studies/quickstart output=tables",
        "funneltune report studies/quickstart output=paper figures=pdf",
        "funneltune report studies/quickstart evidence=experiments/quickstart",
    ),
    run=run,
    keys={
        "output": "folder to write report.html, table.md, table.csv and table.tex into (default: PATH itself)",
        "figures": "formats in which every figure is written too, into figures/: png, svg, pdf",
        "evidence": "folder to keep what the report needs, small enough to commit: records and statistics, no weights",
    },
)
