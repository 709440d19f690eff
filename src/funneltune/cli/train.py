"""`funneltune train`: one run, from its config to its record."""

from __future__ import annotations

import os
import time
from pathlib import Path

from funneltune.cli.arguments import Arguments
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError


def run(arguments: Arguments) -> int:
    """Compose, check, train, and say where the record lies."""
    from omegaconf import OmegaConf

    from funneltune.cli.compose import checked, compose_config, is_first_process

    word = arguments.only_word("experiment")
    overrides = [*([f"experiment={word}"] if word else []), *arguments.overrides]
    cfg = compose_config(overrides, arguments.config_dir)
    if arguments.show_config:
        say(OmegaConf.to_yaml(cfg))
        return 0
    cfg.study = None  # a study's cell is trained like any other run
    run_dir = _run_dir(cfg.run_dir, cfg.name)
    checked(cfg)
    from funneltune import runs

    runs.train(cfg, run_dir)
    if is_first_process():
        from funneltune.reporting import report

        report(run_dir)
        say(f"record: {run_dir / 'record.json'}")
    return 0


def _run_dir(given: str | None, name: str) -> Path:
    """Where the run goes.

    Raises:
        ConfigError: if several processes were started from outside, each of which would name a folder of its own.
    """
    if given is not None:
        return Path(given)
    # Lightning's own further ranks find rank 0's folder in a variable that `runs.train` sets.
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and "FUNNELTUNE_RUN_DIR" not in os.environ:
        raise ConfigError(
            "run_dir=null under a launcher of several processes: each would name a folder of its own; set run_dir=PATH."
        )
    return Path("runs") / name / time.strftime("%Y-%m-%d_%H-%M-%S")


VERB = Verb(
    name="train",
    summary="train one run and test it",
    usage="funneltune train [EXPERIMENT] [group=choice ...] [key=value ...]",
    examples=(
        "funneltune train quickstart tuning=adalora head=esmm seed=3",
        "funneltune train quickstart trainer=ddp run_dir=runs/two-processes",
    ),
    run=run,
    keys={"run_dir": "folder of the run (default runs/<name>/<date-time>); one that holds a record is refused"},
    composes=True,
)
