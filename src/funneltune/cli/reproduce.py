"""`funneltune reproduce`: a paper's studies, run or taken up, and its table and claims beside ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from funneltune.cli.arguments import Arguments, key_of, nearest, nearest_clause
from funneltune.cli.locate import config_root
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError, RunError
from funneltune.files import told_write_faults
from funneltune.records import RECORD_NAME, STUDY_NAME

if TYPE_CHECKING:
    from funneltune.reporting.papers import Counted, OnPaper, Paper, Shelf

GROUP, STUDIES = "paper", "studies"
DEFAULTS = {"scale": "small", "run": "true", "records": f"{STUDIES},experiments", "output": ""}
OWN = tuple(DEFAULTS)
ONE_RUNS = {"study_dir": "a single study's", "run_dir": "a single run's", "study": "what the paper says"}


def run(arguments: Arguments) -> int:
    """Run a paper's studies, unless told not to, and print what holds; or list all papers. 1 if a cell failed."""
    wanted = Wanted.of(arguments)
    if wanted.listed:
        wanted.require_output()
        _list(wanted)
        return 0
    if arguments.show_config:
        return _show_configs(wanted)
    wanted.require_output()
    failed = carry_out(wanted)
    for line in failed:
        say(f"failed:  {line}")
    _tell(wanted)
    return 1 if failed else 0


@dataclass(frozen=True)
class Wanted:
    """What a command asks for: one paper at a scale, or all of them."""

    papers: tuple[Paper, ...]
    listed: bool
    scale: str
    runs: bool
    """Whether what is missing is run."""
    folders: tuple[Path, ...]
    output: Path | None
    overrides: tuple[str, ...]
    """For every study."""
    config_dir: Path | None

    @classmethod
    def of(cls, arguments: Arguments) -> Wanted:
        """From the words after the verb.

        Raises:
            ConfigError: for a paper, scale or key that is not there.
            RunError: for a folder that cannot be what it is named for.
        """
        own = [override for override in arguments.overrides if override.partition("=")[0] in OWN]
        others = tuple(override for override in arguments.overrides if override not in own)
        asked = Arguments(overrides=tuple(own)).keys({}, DEFAULTS)
        word = arguments.only_word("paper")
        files = _papers(arguments.config_dir)
        if arguments.listed and (others or word is not None or {"scale", "run"} & {key_of(one) for one in own}):
            raise ConfigError("--list lists every paper: give it records= and output= alone.")
        if word is None and not arguments.listed:
            raise ConfigError(f"no paper is named: funneltune reproduce ID; papers: {', '.join(files)} (or --list).")
        if word is not None and word not in files:
            raise ConfigError(f"{word} is no paper here{nearest_clause(word, files)}; papers: {', '.join(files)}.")
        if asked["run"] not in ("true", "false"):
            raise ConfigError(f"run={asked['run']} must be true (run what is missing) or false (report what is there).")
        if asked["run"] == "false" and others and not arguments.show_config:
            raise ConfigError(f"run=false runs nothing, and {others[0]} would say how: leave it out.")
        for key in (key_of(one) for one in others):
            if key in ONE_RUNS:
                raise ConfigError(f"{key} is {ONE_RUNS[key]}; a paper's studies go below studies/, each by its name.")
            if near := nearest(key, OWN):
                raise ConfigError(f"{key} is no key, nearest: {near}; this verb's own are {', '.join(OWN)}.")
        output = Path(asked["output"]) if asked["output"] else None
        if output is not None and output.exists() and not output.is_dir():
            raise RunError(f"output={output} is a file; name a folder.")
        from funneltune.reporting.papers import Paper

        papers = tuple(Paper.from_file(files[name]) for name in (files if arguments.listed else [str(word)]))
        if not arguments.listed:
            _require_studies(files[str(word)], papers[0].studies(asked["scale"]), arguments.config_dir)
        runs = asked["run"] == "true" and not arguments.listed
        folders = _folders(asked["records"], typed=any(key_of(one) == "records" for one in own))
        return cls(
            papers=papers,
            listed=arguments.listed,
            scale=asked["scale"],
            runs=runs,
            # What is run is looked at, wherever else records are taken from.
            folders=(Path(STUDIES), *folders) if runs and Path(STUDIES) not in folders else folders,
            output=output,
            overrides=others,
            config_dir=arguments.config_dir,
        )

    def require_output(self) -> None:
        """Make the folder of pages, before anything is run for them.

        Raises:
            RunError: if it cannot be made, or a page would take the place of a file that is none.
        """
        if self.output is None:
            return
        names = [*(paper.name for paper in self.papers), *(["README"] if self.listed else [])]
        for path in (self.output / f"{name}.md" for name in names):
            if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_heads(path.stem)):
                raise RunError(f"output={self.output}: {path.name} is there and is no page of this verb; name another.")
        with told_write_faults(self.output):
            self.output.mkdir(parents=True, exist_ok=True)

    @property
    def studies(self) -> tuple[str, ...]:
        """Of the paper at the scale."""
        return self.papers[0].studies(self.scale)

    def judged(self, shelf: Shelf) -> list[OnPaper]:
        """The papers' claims, held against the records."""
        from funneltune.reporting.papers import SCALES, judge_paper

        scales = SCALES if self.listed else (self.scale,)
        return [judge_paper(paper, scale, shelf) for paper in self.papers for scale in scales if scale in paper.scales]


def _heads(name: str) -> str:
    """How a page of ours begins."""
    from funneltune.reporting.papers import LITERATURE

    return LITERATURE if name == "README" else f"# {name}, scale "


def _require_studies(entry: Path, studies: Sequence[str], config_dir: Path | None) -> None:
    """Raises ConfigError where an entry names a study that no config folder has."""
    there = {path.stem for root in _roots(config_dir) for path in (root / "study").glob("*.yaml")}
    for study in studies:
        if study not in there:
            raise ConfigError(
                f"{entry}: scales name study {study!r}, which is no config{nearest_clause(study, there)}."
            )


def _folders(words: str, *, typed: bool) -> tuple[Path, ...]:
    """The folders of `records=`; the default ones need not be there.

    Raises:
        RunError: if one that was typed is no folder that holds others, by their studies' names.
    """
    folders = tuple(Path(part.strip()) for part in words.split(",") if part.strip())
    if not folders:
        raise RunError(f"records={words} names no folder; name those that hold studies, such as {STUDIES}.")
    for folder in folders if typed else ():
        if not folder.is_dir():
            raise RunError(f"records={folder} is no folder; name those that hold studies, such as {STUDIES}.")
        if any((folder / name).exists() for name in (STUDY_NAME, RECORD_NAME, "records")):
            raise RunError(
                f"records={folder} is one study or run; name the folder that holds it by its name: "
                f"records={folder.absolute().parent}."
            )
    return folders


def _papers(config_dir: Path | None) -> dict[str, Path]:
    """Name -> file, the user's own among them.

    Raises:
        ConfigError: if one of the user's own has the name of one that ships.
    """
    found: dict[str, Path] = {}
    for path in (path for root in _roots(config_dir) for path in sorted((root / GROUP).glob("*.yaml"))):
        if path.stem in found:
            raise ConfigError(f"{path}: {path.stem} is an entry that ships already; give yours another name.")
        found[path.stem] = path
    return found


def _roots(config_dir: Path | None) -> list[Path]:
    return [config_root(), *([config_dir] if config_dir else [])]


def _show_configs(wanted: Wanted) -> int:
    """What each study would run; nothing is run."""
    from omegaconf import OmegaConf

    from funneltune.cli.study import Asked

    for study in wanted.studies:
        say(f"# {study}\n{OmegaConf.to_yaml(Asked.compose(study, wanted.overrides, wanted.config_dir).cfg)}")
    return 0


def carry_out(wanted: Wanted) -> list[str]:
    """Each study as `funneltune study` would run it, where that is wanted; finished cells are kept. A line for each run
    that failed.
    """
    if not wanted.runs:
        return []
    from funneltune.cli.study import Asked, failures
    from funneltune.cli.study import carry_out as run_study
    from funneltune.reporting import report

    asked = [Asked.compose(study, wanted.overrides, wanted.config_dir) for study in wanted.studies]
    for one in asked:
        one.check()
    return [line for one in asked for line in failures(run_study(one, report))]


def _tell(wanted: Wanted) -> None:
    from funneltune.reporting.papers import Shelf, paper_page

    shelf = Shelf(wanted.folders)
    found = wanted.judged(shelf)
    _show(paper_page(found[0], shelf, _counts(wanted.papers[0])))
    if wanted.output is not None:
        say(f"page: {write_pages(wanted, found, shelf)}")


def _list(wanted: Wanted) -> None:
    """A line for each paper and scale; with `output`, the pages."""
    from rich.console import Console
    from rich.table import Table

    from funneltune.reporting.papers import NOT_RUN, Shelf, listing

    shelf = Shelf(wanted.folders)
    found = wanted.judged(shelf)
    table = Table("paper", "scale", "status", "claims", box=None, pad_edge=False)
    for row in listing(found):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if all(one.status == NOT_RUN for one in found):
        folders = ", ".join(map(str, wanted.folders))
        say(f"no records of these studies in {folders} below {Path.cwd()}; records=FOLDER names others")
    if wanted.output is not None:
        say(f"page: {write_pages(wanted, found, shelf)}")


def write_pages(wanted: Wanted, found: Sequence[OnPaper], shelf: Shelf) -> Path:
    """A page for each paper into the wanted folder, and where all are listed the one over them; the last one's path."""
    from funneltune.records import write_json
    from funneltune.reporting.papers import literature_page, paper_page, plain

    assert wanted.output is not None
    counts = {paper.name: _counts(paper) for paper in wanted.papers}
    for paper in wanted.papers:
        own = [one for one in found if one.paper is paper]
        pages = [paper_page(one, shelf, counts[paper.name] if one is own[-1] else ()) for one in own]
        written = _write(wanted.output, paper.name, "\n".join(pages))
    if wanted.listed:
        written = _write(wanted.output, "README", literature_page(found, counts))
        write_json(wanted.output / "verdicts.json", plain(found))
    return written


def _write(folder: Path, name: str, page: str) -> Path:
    from funneltune.files import write_text

    write_text(folder / f"{name}.md", page)
    return folder / f"{name}.md"


def _counts(paper: Paper) -> list[Counted]:
    """What the paper's settings weigh and cost, computed on tensors without storage."""
    if not paper.counts:
        return []
    from funneltune.cli.compose import compose_config
    from funneltune.experiments.counting import LENGTH, count
    from funneltune.reporting.papers import Counted

    return [
        Counted(
            of=one.of,
            what=one.what,
            printed=one.printed,
            ours=count(compose_config(one.overrides), one.length or LENGTH).value(one.what),
            within=one.within,
            explained=one.explained,
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
