"""`funneltune data`: what a log holds, and whether it can be used, before any training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from funneltune.cli.arguments import Arguments, nearest_clause
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from funneltune.data.describe import Checked
    from funneltune.data.drift import Drift

DEEDS = ("describe", "validate", "drift")


def run(arguments: Arguments) -> int:
    """Describe or validate the log that the config names, or compare its splits."""
    if not arguments.words:
        raise ConfigError(f"missing one of {', '.join(DEEDS)}: funneltune data describe data=simulated.")
    deed, *rest = arguments.words
    if deed not in DEEDS:
        raise ConfigError(f"data {deed} is unknown{nearest_clause(deed, DEEDS)}; it is one of {', '.join(DEEDS)}.")
    word = Arguments(words=tuple(rest)).only_word("experiment")
    cfg = composed(word, arguments.overrides, arguments.config_dir)
    if arguments.show_config:
        from omegaconf import OmegaConf

        say(OmegaConf.to_yaml(cfg.data))
        return 0
    if deed == "describe":
        say(json.dumps(described(cfg), indent=1, default=str))
        return 0
    if deed == "drift":
        say(drifted(cfg).in_words())
        return 0
    found, unread = validated(cfg)
    say(found.in_words())
    if unread:
        say(f"  not searched for leaks, as this config does not read them (features=all does): {', '.join(unread)}")
    return 0


def composed(word: str | None, overrides: Sequence[str], config_dir: Path | None = None) -> DictConfig:
    """The config of a run over the log.

    Raises:
        ConfigError: naming every override that is wrong.
    """
    from funneltune.cli.compose import compose_config

    return compose_config([*([f"experiment={word}"] if word else []), *overrides], config_dir)


def described(cfg: DictConfig) -> dict[str, Any]:
    """What the log holds.

    Raises:
        FunnelError: what config or log have wrong.
    """
    from funneltune.cli.compose import checked
    from funneltune.data import describe
    from funneltune.runs.assemble import assemble_data
    from funneltune.runs.targets import build

    data = assemble_data(checked(cfg), build(cfg.backbone))
    data.prepare_data()
    data.setup()  # to look at a log is no fit: `validate` and `train` look for leaks
    return describe(data)


def validated(cfg: DictConfig) -> tuple[Checked, list[str]]:
    """What a whole reading of the log found, and the columns that it offers and this config does not read.

    Raises:
        FunnelError: what config or log have wrong.
    """
    from omegaconf import OmegaConf

    from funneltune.cli.compose import checked
    from funneltune.data import validate
    from funneltune.data.leaks import Guard
    from funneltune.features import Numbers
    from funneltune.funnel import TaskFunnel
    from funneltune.runs.assemble import needed_features, source_of
    from funneltune.runs.targets import build
    from funneltune.schema import FeatureNeeds

    data: Any = OmegaConf.to_container(checked(cfg).data, resolve=True)
    node = data.get("features") or {}
    Numbers(node.get("numbers") or {}, "plain", 1, 2)  # refuses a transform that is none
    offered, backbone = FeatureNeeds.offered(node), build(cfg.backbone)
    texts, needed = data.get("texts") or {}, needed_features(cfg, backbone)
    found = validate(
        source_of(cfg.data),
        TaskFunnel.from_config(data["tasks"]),
        build(cfg.data.split),
        texts,
        offered,
        Guard.parse(data.get("leaks")),
        read=(texts if backbone.interaction != "none" else {}, needed),
        beside=Path(data["cache_dir"]),
    )
    return found, sorted({*offered.ids, *offered.numbers} - {*needed.ids, *needed.numbers})


def drifted(cfg: DictConfig) -> Drift:
    """How far the log's test split lies from its training split.

    Raises:
        FunnelError: what config or log have wrong.
    """
    from omegaconf import OmegaConf

    from funneltune.cli.compose import checked
    from funneltune.data import drift, prepare
    from funneltune.data.next_labels import cut_log
    from funneltune.funnel import TaskFunnel
    from funneltune.runs.assemble import source_of
    from funneltune.runs.targets import build
    from funneltune.schema import FeatureNeeds

    data: Any = OmegaConf.to_container(checked(cfg).data, resolve=True)
    tasks = TaskFunnel.from_config(data["tasks"])
    store = prepare(source_of(cfg.data), tasks, Path(data["cache_dir"]))
    requests = cut_log(store, tasks, build(cfg.data.split), data["train_share"], int(cfg.seed))
    return drift(store, requests, FeatureNeeds.offered(data.get("features") or {}))


VERB = Verb(
    name="data",
    summary="what a log holds (describe), whether it can be used (validate), how its test split differs (drift)",
    usage="funneltune data describe|validate|drift [EXPERIMENT] data=CHOICE [data.path=FILE]",
    examples=(
        "funneltune data validate data=homedepot data.path=train.csv.gz",
        "funneltune data describe quickstart",
        "funneltune data drift data=taobao",
    ),
    run=run,
    keys={"data.path": "the file of a source that reads one"},
    composes=True,
)
