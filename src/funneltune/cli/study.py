"""`funneltune study`: a grid of runs, compared; a second call resumes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funneltune.cli import helptext
from funneltune.cli.arguments import Arguments
from funneltune.cli.verb import Verb, nothing_saved_yet, say, signal_of
from funneltune.errors import ConfigError, FunnelError, Interrupted, RunError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from funneltune.experiments import StudyState
    from funneltune.reporting.report import Report


ALIKE = 3
"""Runs that may fail for one reason and have a line each."""


def run(arguments: Arguments) -> int:
    """Compose, hand the open cells to the configured launcher, report. Returns 1 if a cell failed."""
    with nothing_saved_yet():
        asked = Asked.compose(arguments.only_word("study"), arguments.overrides, arguments.config_dir)
        if arguments.show_config:
            from omegaconf import OmegaConf

            say(OmegaConf.to_yaml(asked.cfg))
            return 0
        asked.check()
    from funneltune.reporting import report

    state = carry_out(asked, report)
    folder = asked.folder
    say(f"records: {folder / 'cells'}\nstudy:   {folder / 'study.json'}\npage:    {folder / 'report.html'}")
    for line in failures(state):
        say(f"failed:  {line}")
    return 1 if any(run["status"] != "finished" for run in state["runs"]) else 0


@dataclass(frozen=True)
class Asked:
    """A study as it was asked for, composed."""

    cfg: DictConfig
    overrides: list[str]
    folder: Path
    config_dir: Path | None

    @classmethod
    def compose(cls, word: str | None, overrides: Sequence[str], config_dir: Path | None = None) -> Asked:
        """From the words of a command.

        Raises:
            ConfigError: naming every override that is wrong.
        """
        from funneltune.cli import launch
        from funneltune.cli.compose import compose_config

        study_dir, rest = _take_study_dir(overrides)
        wanted = launch.axes_as_lists([*([f"study={word}"] if word else []), *rest], config_dir)
        cfg = compose_config(launch.without_lists(wanted), config_dir, launched=True)
        return cls(cfg, wanted, (study_dir or Path("studies") / cfg.name).absolute(), config_dir)

    def check(self) -> None:
        """Refuse what can be seen to be wrong before anything runs.

        Raises:
            ConfigError: if no study is named, or a value of an axis does not compose.
            RunError: if the study's folder is a file.
        """
        from funneltune.cli import launch

        if self.cfg.study is None:
            studies = dict(helptext.groups(self.config_dir)).get("study", [])
            raise ConfigError(f"no study is named: funneltune study NAME; studies: {', '.join(studies)}.")
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"study_dir={self.folder} is a file; choose a folder.")
        launch.check_axes(self.cfg, self.overrides, self.config_dir)


def carry_out(asked: Asked, report: Callable[[Path], Report]) -> dict[str, Any]:
    """Hand the open cells to the configured launcher, then write the tables; the state that the study is in.

    Raises:
        Interrupted: with the command that goes on.
    """
    with nothing_saved_yet():
        from funneltune.cli import launch
        from funneltune.experiments import StudyState

        before = _runs(StudyState(asked.folder))
    try:
        state = launch.launch(asked.overrides, asked.folder, asked.config_dir)
    except (Interrupted, KeyboardInterrupt) as stop:
        signum = signal_of(stop)
        told = f"stopped by {signum.name}; the same command goes on, with what is finished kept: {_command()}"
        if any(override.startswith("hydra/launcher=submitit") for override in asked.overrides):
            told += " (cells that submitit has started go on by themselves: let them end first, or cancel their jobs)"
        raise Interrupted(signum, told) from None
    if any(run["record"] for run in state["runs"]):
        made = report(asked.folder)
        if state["runs"] != before:
            _tell_wandb(asked.cfg, asked.folder, state, made)
    return state


def failures(state: Mapping[str, Any]) -> Iterator[str]:
    """Which trials and runs did not finish, and why: a line for each, or one for all that failed alike."""
    alike: dict[str, list[str]] = {}
    for one in [*state["trials"], *state["runs"]]:
        if one["status"] != "finished":
            attempts = f" ({one['attempts']} attempts)" if "attempts" in one else ""
            name = f"{one['folder'].removeprefix('cells/').replace('/', ' ')}{attempts}"
            alike.setdefault(str(one["error"]), []).append(name)
    for error, names in alike.items():
        if len(names) > ALIKE:
            yield f"{names[0]} and {len(names) - 1} others: {error}"
        else:
            yield from (f"{name}: {error}" for name in names)


def _runs(state: StudyState) -> list[dict[str, Any]]:
    """How the study's runs stood before this call; none where study.json is missing or cannot be read."""
    try:
        found: list[dict[str, Any]] = state.read().get("runs", [])
    except FunnelError:
        return []
    return found


def _tell_wandb(cfg: DictConfig, folder: Path, state: dict[str, Any], made: Report) -> None:
    """Table, verdicts and figures as a W&B run beside those of the cells, where these have one."""
    from omegaconf import OmegaConf

    from funneltune.callbacks import track_study

    node: Any = OmegaConf.to_container(cfg.logger, resolve=True) if cfg.logger else {}
    if isinstance(node.get("wandb"), dict):
        track_study(node["wandb"], folder, state["study"]["name"], state["study"], made.tables(), made.pictures())


def _command() -> str:
    return shlex.join(["funneltune", *sys.argv[1:]])


def _take_study_dir(overrides: Sequence[str]) -> tuple[Path | None, list[str]]:
    """`study_dir=PATH` is the verb's own: it says where, and is no part of any run's config."""
    found = [override.partition("=")[2] for override in overrides if override.startswith("study_dir=")]
    if len(found) > 1 or found == [""]:
        raise ConfigError(f"study_dir={','.join(found)}: give one folder, study_dir=PATH.")
    if any(override.startswith("run_dir=") for override in overrides):
        raise ConfigError("run_dir is a single run's; a study puts its runs below study_dir=PATH.")
    for resume in (o.partition("=")[2] for o in overrides if o.startswith("resume=")):
        if resume not in {"auto", "never"}:
            raise ConfigError(
                f"resume={resume}: a study takes up its own cells; write resume=auto (so it does unless told "
                "otherwise), or resume=never to begin interrupted cells anew."
            )
    return (Path(found[0]) if found else None), [o for o in overrides if not o.startswith("study_dir=")]


VERB = Verb(
    name="study",
    summary="run a grid of experiments x seeds and compare them; a second call resumes",
    usage="funneltune study STUDY [key=value ...] [study_dir=PATH]",
    examples=(
        "funneltune study quickstart",
        "funneltune study quickstart tuning=frozen,adalora seed=0,1,2 study_dir=studies/three-seeds",
        "funneltune study peft method=lora,adalora seed=0,1",
        "funneltune study quickstart hydra/launcher=joblib hydra.launcher.n_jobs=2",
    ),
    run=run,
    keys={
        "study_dir": "folder of the study (default studies/<name>); finished cells in it are kept",
        "resume": "auto (default): interrupted cells go on where they were; never: they begin anew",
        "study.seeds": "list of seeds, e.g. [0,1,2]; the same as seed=0,1,2",
        "key=a,b,c": "several values of a key or group are an axis of the grid; one value narrows the study's own axis",
    },
    composes=True,
)
