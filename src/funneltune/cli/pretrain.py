"""`funneltune pretrain`: a backbone learns the language of a catalogue before it learns from clicks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from funneltune.cli import helptext
from funneltune.cli.arguments import Arguments, key_of, nearest_clause
from funneltune.cli.verb import Verb, nothing_saved_yet, say
from funneltune.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(arguments: Arguments) -> int:
    """Compose, check, pretrain, and say what it gave and where it lies."""
    word = arguments.only_word("data set or experiment")
    with nothing_saved_yet():
        from omegaconf import OmegaConf

        cfg = composed(word, arguments.overrides, arguments.config_dir)
        if arguments.show_config:
            say(OmegaConf.to_yaml(cfg))
            return 0
        folder = run_folder(cfg)
        from funneltune import runs

    record = runs.pretrain(cfg, folder)
    before, after = (record.value(f"lm/perplexity{when}", "validation") for when in ("_before", ""))
    texts = record.data["texts"]
    say(
        f"{texts['train']:,} texts read; perplexity of {texts['validation']:,} held-out texts: "
        f"{_number(before)} before, {_number(after)} after"
    )
    say(f"backbone: {folder / 'backbone'} (funneltune train ... backbone.name={folder / 'backbone'})")
    if (adapters := folder / "adapters.safetensors").is_file():
        say(f"adapters: {adapters} (tuning.start={adapters})")
    say(f"record: {folder / 'record.json'}")
    return 0


def composed(word: str | None, overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """The config that a command asks for: an experiment's of that name, else a data set's, with `pretraining=mlm`
    where nothing is chosen.

    Raises:
        ConfigError: naming every override that is wrong, or a word that is neither.
    """
    from funneltune.cli.compose import compose_config

    chosen = [key_of(override) for override in overrides]
    first = [] if word is None else [f"{_group(word, config_dir)}={word}", f"name=pretraining_{word}"]
    stage = [] if "pretraining" in chosen else ["pretraining=mlm"]
    return compose_config([*(first or ["name=pretraining"]), *stage, *overrides], config_dir)


def _group(word: str, config_dir: Path | None) -> str:
    """Whether a word names an experiment or a data set.

    Raises:
        ConfigError: if it names neither.
    """
    there = dict(helptext.groups(config_dir))
    for group in ("experiment", "data"):
        if word in there.get(group, []):
            return group
    options = [*there.get("data", []), *there.get("experiment", [])]
    raise ConfigError(f"{word} is neither an experiment nor a data set{nearest_clause(word, options)} (--help lists).")


def run_folder(cfg: DictConfig) -> Path:
    """Where the run goes, the config checked.

    Raises:
        ConfigError: with every fault that can be seen before anything is built.
    """
    from funneltune.cli.compose import checked

    cfg.study, cfg.search = None, None
    checked(cfg)
    return Path(cfg.run_dir) if cfg.run_dir else Path("runs") / str(cfg.name) / time.strftime("%Y-%m-%d_%H-%M-%S")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:,.4g}"


VERB = Verb(
    name="pretrain",
    summary="pretrain a backbone on a log's texts, for later runs to start from",
    usage="funneltune pretrain [DATA|EXPERIMENT] [group=choice ...] [key=value ...]",
    examples=(
        "funneltune pretrain myntra tuning=full run_dir=runs/myntra_mlm",
        "funneltune pretrain simulated backbone=gpt2_scratch pretraining=clm tuning=full",
    ),
    run=run,
    keys={"run_dir": "folder of the run (default runs/<name>/<date-time>); one that is not empty is refused"},
    composes=True,
)
