"""`funneltune search`: settings of an experiment, searched; a second call goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funneltune.cli import helptext
from funneltune.cli.arguments import Arguments, key_of
from funneltune.cli.verb import Verb, nothing_saved_yet, say, signal_of
from funneltune.errors import ConfigError, Interrupted, RunError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from funneltune.experiments.search import Search

GROUP = "hparams_search"
TAKEN = {
    "run_dir": "a search puts its trials below search_dir=PATH",
    "resume": "a search takes up its own trials: give the same command again",
    "test": "a search leaves the test split alone, always",
}


def run(arguments: Arguments) -> int:
    """Compose, check every setting, run the open trials, tell the best. Returns 1 if no trial has finished."""
    with nothing_saved_yet():
        asked = Asked.compose(arguments)
        if arguments.show_config:
            from omegaconf import OmegaConf

            say(OmegaConf.to_yaml(asked.cfg))
            return 0
        search = asked.checked()
    content = carry_out(asked, search)
    _tell(content, asked.folder)
    return 0 if content["best"] else 1


@dataclass(frozen=True)
class Asked:
    """A search as it was asked for, composed."""

    cfg: DictConfig
    overrides: tuple[str, ...]
    search_dir: Path | None
    config_dir: Path | None

    @classmethod
    def compose(cls, arguments: Arguments) -> Asked:
        """From the words of a command.

        Raises:
            ConfigError: naming every override that is wrong.
        """
        from funneltune.cli.compose import compose_config

        word = arguments.only_word("search")
        search_dir, rest = _take_search_dir(arguments.overrides)
        overrides = (*([f"{GROUP}={word}"] if word else []), *rest)
        return cls(compose_config(overrides, arguments.config_dir), overrides, search_dir, arguments.config_dir)

    @property
    def name(self) -> str:
        """The search's own word."""
        return next(o.partition("=")[2] for o in self.overrides if key_of(o) == GROUP)

    @property
    def folder(self) -> Path:
        """Where its trials lie."""
        return (self.search_dir or Path("searches") / self.name).absolute()

    def checked(self) -> Search:
        """The search, its settings looked at before anything runs.

        Raises:
            ConfigError: if no search is named, or a setting is none.
            RunError: if the search's folder is a file.
        """
        from omegaconf import OmegaConf

        from funneltune.cli.compose import checked, compose_config
        from funneltune.experiments.search import Search
        from funneltune.experiments.search_plan import SearchPlan

        if self.cfg.search is None:
            searches = dict(helptext.groups(self.config_dir)).get(GROUP, [])
            raise ConfigError(f"no search is named: funneltune search NAME; searches: {', '.join(searches)}.")
        node: Any = OmegaConf.to_container(self.cfg.search, resolve=True)
        plan = SearchPlan.from_config(self.name, node, {key_of(override) for override in self.overrides})
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"search_dir={self.folder} is a file; choose a folder.")
        self.cfg.search, self.cfg.study = None, None
        checked(self.cfg)
        search = Search(
            plan, self.folder, lambda words: checked(compose_config(words, self.config_dir)), self.overrides
        )
        search.check(self.cfg)
        return search


def carry_out(asked: Asked, search: Search) -> dict[str, Any]:
    """Run the open trials, and keep what came of it with the command that trains each of the best settings.

    Raises:
        Interrupted: with the command that goes on.
    """
    from omegaconf import OmegaConf

    from funneltune.experiments.search import RESULT_NAME
    from funneltune.records import write_json

    try:
        content = search.run(OmegaConf.to_container(asked.cfg, resolve=True))  # type: ignore[arg-type]
    except (Interrupted, KeyboardInterrupt) as stop:
        signum = signal_of(stop)
        command = shlex.join(["funneltune", *sys.argv[1:]])
        told = f"stopped by {signum.name}; the same command goes on, with what is finished kept: {command}"
        raise Interrupted(signum, told) from None
    commands = {}
    for number in content["best"]:
        setting = search.plan.trial_overrides(content["trials"][number]["params"])
        commands[str(number)] = _train_command(setting, asked.overrides, asked.config_dir)
    content = content | {"commands": commands}
    write_json(asked.folder / RESULT_NAME, content)
    return content


def _tell(content: dict[str, Any], folder: Path) -> None:
    """The table, the picture, and the command that trains the best setting (of a front: its first) and tests it."""
    from funneltune.experiments import search_report
    from funneltune.experiments.search import RESULT_NAME

    search_report.print_table(content)
    picture = search_report.draw(content, folder)
    if content["commands"]:
        several = len(content["objectives"]) > 1
        best = search_report.ordered(content)[0]["number"]
        which = f"trial {best} (of the others: {RESULT_NAME})" if several else f"the best setting (trial {best})"
        say(f"train and test {which}:\n  {content['commands'][str(best)]}")
    say(f"search:  {folder / RESULT_NAME}" + (f"\npicture: {picture}" if picture else ""))


def _train_command(setting: Sequence[str], overrides: Sequence[str], config_dir: Path | None) -> str:
    """`funneltune train EXPERIMENT ...`, where that is all that the search's file says; else with the file itself."""
    own = [override for override in overrides if key_of(override) != GROUP and not _of_search(override)]
    named = [override for override in overrides if key_of(override) == GROUP]
    experiment = _experiment([*named, *own], config_dir)
    words = [experiment, *own, *setting] if experiment else [*named, *own, *setting]
    flags = ["--config-dir", str(config_dir)] if config_dir else []
    return shlex.join(["funneltune", "train", *words, *flags])


def _experiment(overrides: Sequence[str], config_dir: Path | None) -> str | None:
    """The experiment that a search's file is made of, if it says nothing more."""
    import hydra
    from omegaconf import OmegaConf

    from funneltune.cli.compose import compose_config, opened, search_path
    from funneltune.cli.locate import PRIMARY

    with opened():
        whole = hydra.compose(PRIMARY, [*overrides, *search_path(config_dir)], return_hydra_config=True)
    name = OmegaConf.to_container(whole.hydra.runtime.choices).get("experiment")  # type: ignore[union-attr]
    if not isinstance(name, str):
        return None

    def without_search(words: Sequence[str]) -> DictConfig:
        cfg = compose_config(words, config_dir)
        cfg.search = None
        return cfg

    own = [override for override in overrides if key_of(override) != GROUP]
    return name if without_search([f"experiment={name}", *own]) == without_search(overrides) else None


def _of_search(override: str) -> bool:
    return key_of(override).partition(".")[0] == "search"


def _take_search_dir(overrides: Sequence[str]) -> tuple[Path | None, list[str]]:
    """`search_dir=PATH` is the verb's own: it says where, and is no part of any trial's config."""
    found = [override.partition("=")[2] for override in overrides if override.startswith("search_dir=")]
    if len(found) > 1 or found == [""]:
        raise ConfigError(f"search_dir={','.join(found)}: give one folder, search_dir=PATH.")
    for override in overrides:
        if (key := key_of(override)) in TAKEN:
            raise ConfigError(f"{override}: {TAKEN[key]}; leave {key} out.")
    return (Path(found[0]) if found else None), [o for o in overrides if not o.startswith("search_dir=")]


VERB = Verb(
    name="search",
    summary="search settings of an experiment by Optuna; a second call goes on",
    usage="funneltune search SEARCH [key=value ...] [search_dir=PATH]",
    examples=(
        "funneltune search quickstart",
        "funneltune search quickstart search.trials=40 search_dir=searches/forty",
        "funneltune search quality_and_cost backbone=bert_base",
    ),
    run=run,
    keys={
        "search_dir": "folder of the search (default searches/<name>); started twice on one folder, it is shared",
        "search.trials": "trials in all; a second call goes on to as many",
        "search.sampler": "tpe, random or grid",
        "search.pruner": "none, median, halving or hyperband: stops poor trials at a validation",
        "key=value": "holds for every trial; a key of the search's space is then not searched",
    },
    composes=True,
)
