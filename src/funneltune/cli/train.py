"""`funneltune train`: one run, from its config to its record."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from funneltune.cli import helptext
from funneltune.cli.arguments import Arguments, nearest_clause
from funneltune.cli.verb import Verb, is_first_process, nothing_saved_yet, say
from funneltune.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

AUTO = "auto"


def run(arguments: Arguments) -> int:
    """Compose, check, train, and say where the record lies."""
    word = arguments.only_word("experiment")
    overrides = [*([f"experiment={word}"] if word else []), *arguments.overrides]
    with nothing_saved_yet(lambda: _saved_earlier(overrides)):
        from omegaconf import OmegaConf

        cfg = composed(overrides, arguments.config_dir)
        if arguments.show_config:
            say(OmegaConf.to_yaml(cfg))
            return 0
        run_dir = prepare(cfg)
        from funneltune import runs

    record = runs.train(cfg, run_dir)
    if is_first_process():
        from funneltune.reporting import report
        from funneltune.reporting.privacy import privacy_in_words

        report(run_dir)
        if chosen := runs.chosen_precision(cfg.trainer):
            say(chosen)
        if record is not None:
            say(f"privacy: {privacy_in_words(record.privacy)}")
        say(f"record: {run_dir / 'record.json'}")
    return 0


def _saved_earlier(overrides: Sequence[str]) -> str:
    """What an interrupted command that takes a run up can say of it; nothing of one that begins anew.

    By names alone: the signal came while the modules that know checkpoints were being imported.
    """
    given = {key: value for key, _, value in (override.partition("=") for override in overrides)}
    resume = given.get("resume", "null")
    if resume in {"null", ""}:
        return ""
    folder = given.get("run_dir") if resume == AUTO else resume
    names = [path.name for path in (Path(folder) / "checkpoints").glob("step-*.ckpt.sha256")] if folder else []
    steps = [int(step) for name in names if (step := name.removeprefix("step-").partition(".")[0]).isdecimal()]
    goes_on = f"; the same command goes on from step {max(steps)}" if steps else "; give the same command again"
    return f"before anything new was saved{goes_on}"


def composed(overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """The config that a command asks for: composed anew, or that of the run that `resume=FOLDER` names.

    Raises:
        ConfigError: naming every override that is wrong.
    """
    from funneltune.cli.compose import compose_config

    return _taken_up(overrides) or compose_config(overrides, config_dir)


def prepare(cfg: DictConfig) -> Path:
    """Check a config that is about to be trained, in place, and say where its run goes.

    Raises:
        ConfigError: with every fault that can be seen before anything is built.
        RunError: if `resume` names a folder without a run.
    """
    from funneltune.cli.compose import checked

    cfg.study, cfg.search = None, None  # a study's cell, a search's setting are trained like any other run
    if cfg.get("pretraining") is not None:
        raise ConfigError("pretraining is a stage of its own: funneltune pretrain, then backbone.name=RUN/backbone.")
    checked(cfg)
    return _run_dir(cfg)


def _taken_up(overrides: Sequence[str]) -> DictConfig | None:
    """The config of the run that `resume=FOLDER` names, with the command's single values set in it.

    None where no run is named, or the command chooses groups: then it says all of the run by itself.

    Raises:
        ConfigError: for a key that the run's config does not have.
    """
    found = [override.partition("=")[2] for override in overrides if override.startswith("resume=")]
    if len(found) != 1 or found[0] in {AUTO, "null", ""} or ":/" in found[0]:
        return None
    chosen = {group for group, _ in helptext.groups()} | {"experiment", "study", "debug"}
    if any(override[0] in "+~" or override.partition("=")[0] in chosen for override in overrides):
        return None
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from funneltune.cli.faults import dotted_keys
    from funneltune.data.pseudonyms import require_key
    from funneltune.records import RECORD_NAME, RunRecord
    from funneltune.runs.folder import stored_config

    cfg = stored_config(Path(found[0]), "resume")
    cfg.run_dir = None  # where the folder lies now counts, not where it lay
    known = [*dotted_keys(cfg), "resume", "resume_changes", "skip_nonfinite"]
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element()
        if key not in known:
            raise ConfigError(f"{key} is no key of the run in {found[0]}{nearest_clause(key, known)}.")
        OmegaConf.update(cfg, key, override.value(), force_add=True)
    cfg.resume = found[0]
    require_key(cfg.data.get("pseudonyms"), RunRecord.read(Path(found[0]) / RECORD_NAME).data, f"resume={found[0]}")
    return cfg


def _run_dir(cfg: DictConfig) -> Path:
    """Where the run goes.

    Raises:
        ConfigError: if `resume` and `run_dir` name two folders, or several processes were started from outside, each of
            which would name a folder of its own.
        RunError: if `resume` names a folder without a run.
    """
    given: str | None = cfg.run_dir
    if cfg.resume not in {None, AUTO}:
        if given is not None and Path(given).resolve() != Path(cfg.resume).resolve():
            raise ConfigError(f"resume={cfg.resume} and run_dir={given} name two folders; give one of them.")
        from funneltune.runs.folder import stored_config

        stored_config(Path(cfg.resume), "resume")
        return Path(cfg.resume)
    if given is not None:
        return Path(given)
    if "FUNNELTUNE_RUN_DIR" in os.environ:  # one of Lightning's further ranks: `runs.train` said where in the first
        return Path(os.environ["FUNNELTUNE_RUN_DIR"])
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "run_dir=null under a launcher of several processes: each would name a folder of its own; set run_dir=PATH."
        )
    parent = Path("runs") / str(cfg.name)
    if cfg.resume == AUTO:
        from funneltune.runs.folder import newest_unfinished

        found: Path | None = newest_unfinished(parent, cfg)
        if found is not None:
            return found
    return parent / time.strftime("%Y-%m-%d_%H-%M-%S")


VERB = Verb(
    name="train",
    summary="train one run and test it",
    usage="funneltune train [EXPERIMENT] [group=choice ...] [key=value ...]",
    examples=(
        "funneltune train quickstart tuning=adalora head=esmm seed=3",
        "funneltune train quickstart trainer=ddp run_dir=runs/two-processes",
        "funneltune train quickstart resume=auto",
    ),
    run=run,
    keys={
        "run_dir": "folder of the run (default runs/<name>/<date-time>); one that is not empty is refused",
        "resume": "auto: go on where this command was interrupted, else begin; FOLDER: go on with that run",
    },
    composes=True,
)
