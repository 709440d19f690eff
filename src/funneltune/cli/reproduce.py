"""`funneltune reproduce`: a paper's studies, run or taken up, and its table and claims beside ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from funneltune.cli.arguments import Arguments, nearest_clause
from funneltune.cli.locate import config_root
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError, RunError

if TYPE_CHECKING:
    from funneltune.reporting.papers import Counted, OnPaper, Paper, Shelf

GROUP = "paper"
OWN = ("scale", "run", "records", "output")
DEFAULTS = {"scale": "small", "run": "true", "records": "studies,experiments", "output": ""}


def run(arguments: Arguments) -> int:
    """Run a paper's studies, unless told not to, and print what holds; or list all papers. 1 if a cell failed."""
    own = [override for override in arguments.overrides if override.partition("=")[0] in OWN]
    others = [override for override in arguments.overrides if override not in own]
    asked = Arguments(overrides=tuple(own)).keys({}, DEFAULTS)
    word = arguments.only_word("paper")
    papers = _papers(arguments.config_dir)
    if word is None and not arguments.listed:
        raise ConfigError(f"no paper is named: funneltune reproduce ID; papers: {', '.join(papers)} (or --list).")
    if word is not None and word not in papers:
        raise ConfigError(f"{word} is no paper here{nearest_clause(word, papers)}; papers: {', '.join(papers)}.")
    if asked["run"] not in ("true", "false"):
        raise ConfigError(f"run={asked['run']} must be true (run what is missing) or false (report what is there).")
    output = Path(asked["output"]) if asked["output"] else None
    if output is not None and output.exists() and not output.is_dir():
        raise RunError(f"output={output} is a file; name a folder.")
    from funneltune.reporting.papers import Paper, Shelf

    folders = [Path(part.strip()) for part in asked["records"].split(",") if part.strip()]
    if arguments.listed:
        if others or word is not None:
            raise ConfigError("--list lists every paper: give it records= and output= alone.")
        _list([Paper.from_file(path) for path in papers.values()], Shelf(folders), output)
        return 0
    paper = Paper.from_file(papers[str(word)])
    scale = asked["scale"]
    studies = paper.studies(scale)
    if arguments.show_config:
        return _show_configs(studies, others, arguments.config_dir)
    status = _carry_out(studies, others, arguments.config_dir) if asked["run"] == "true" else 0
    _tell(paper, scale, Shelf(folders), output)
    return status


def _papers(config_dir: Path | None) -> dict[str, Path]:
    """Name -> file, the user's own among them."""
    roots = [config_root(), *([config_dir] if config_dir else [])]
    return {path.stem: path for root in roots for path in sorted((root / GROUP).glob("*.yaml"))}


def _show_configs(studies: Sequence[str], overrides: Sequence[str], config_dir: Path | None) -> int:
    """What each study would run; nothing is run."""
    from omegaconf import OmegaConf

    from funneltune.cli.study import Asked

    for study in studies:
        say(f"# {study}\n{OmegaConf.to_yaml(Asked.compose(study, overrides, config_dir).cfg)}")
    return 0


def _carry_out(studies: Sequence[str], overrides: Sequence[str], config_dir: Path | None) -> int:
    """Each study as `funneltune study` would run it; finished cells are kept."""
    from funneltune.cli.study import Asked, carry_out, failures
    from funneltune.reporting import report

    asked = [Asked.compose(study, overrides, config_dir) for study in studies]
    for one in asked:
        one.check()
    status = 0
    for one in asked:
        state = carry_out(one, report)
        for line in failures(state):
            say(f"failed:  {line}")
            status = 1
    return status


def _tell(paper: Paper, scale: str, shelf: Shelf, output: Path | None) -> None:
    from funneltune.files import write_text
    from funneltune.reporting.papers import judge_paper, paper_page

    page = paper_page(judge_paper(paper, scale, shelf), shelf, _counts(paper))
    _show(page)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / f"{paper.name}.md", page)
        say(f"page: {output / f'{paper.name}.md'}")


def _list(papers: Sequence[Paper], shelf: Shelf, output: Path | None) -> None:
    """A line for each paper and scale; with `output`, the page over all of them and one for each."""
    from rich.console import Console
    from rich.table import Table

    from funneltune.files import write_text
    from funneltune.records import write_json
    from funneltune.reporting.papers import SCALES, judge_paper, listing, literature_page, paper_page, plain

    found: list[OnPaper] = [
        judge_paper(paper, scale, shelf) for paper in papers for scale in SCALES if scale in paper.scales
    ]
    table = Table("paper", "scale", "status", "claims", box=None, pad_edge=False)
    for row in listing(found):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if output is None:
        return
    output.mkdir(parents=True, exist_ok=True)
    counts = {paper.name: _counts(paper) for paper in papers}
    for paper in papers:
        own = [one for one in found if one.paper is paper]
        pages = [paper_page(one, shelf, counts[paper.name] if one is own[-1] else ()) for one in own]
        write_text(output / f"{paper.name}.md", "\n".join(pages))
    write_text(output / "README.md", literature_page(found, counts))
    write_json(output / "verdicts.json", plain(found))
    say(f"page: {output / 'README.md'}")


def _counts(paper: Paper) -> list[Counted]:
    """What the paper's settings weigh and cost, computed on tensors without storage."""
    if not paper.counts:
        return []
    from funneltune.cli.compose import compose_config
    from funneltune.experiments.counting import LENGTH, count
    from funneltune.reporting.papers import Counted

    return [
        Counted(
            of=str(one["of"]),
            what=str(one["what"]),
            printed=float(one["printed"]),
            ours=count(compose_config(list(one["overrides"])), int(one.get("length", LENGTH))).value(str(one["what"])),
            within=float(one["within"]),
            explained=str(one.get("explained") or ""),
        )
        for one in paper.counts
    ]


def _show(page: str) -> None:
    """Drawn in a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        say(page)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(page))


VERB = Verb(
    name="reproduce",
    summary="a paper's studies run here, its table and claims beside ours, with verdicts",
    usage="funneltune reproduce ID [scale=small|full] [run=false] [key=value ...] | funneltune reproduce --list",
    examples=(
        "funneltune reproduce --list",
        "funneltune reproduce adalora2023",
        "funneltune reproduce esmm2018 run=false records=studies,experiments",
        "funneltune reproduce adalora2023 scale=full trainer=gpu",
    ),
    run=run,
    keys={
        "--list": "every paper at every scale with its status, computed from the records that are there",
        "scale": "small (default): on two cores without a hub; full: the paper's backbone, data and settings",
        "run": "true (default): run what is missing, as funneltune study would; false: report what is there",
        "records": "folders that hold studies, the first that has one wins (default studies,experiments)",
        "output": "folder to write the page into; with --list the page over all papers, and one for each",
        "key=value": "goes to every study: hydra/launcher=joblib, trainer=gpu, seed=0,1",
    },
    composes=True,
)
