"""`funneltune data`: what a log holds, and whether it can be used, before any training."""

from __future__ import annotations

import json
from typing import Any

from funneltune.cli.arguments import Arguments, nearest_clause
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError

DEEDS = ("describe", "validate")


def run(arguments: Arguments) -> int:
    """Describe or validate the log that the config names."""
    if not arguments.words:
        raise ConfigError(f"missing one of {', '.join(DEEDS)}: funneltune data describe data=simulated.")
    deed, *rest = arguments.words
    if deed not in DEEDS:
        raise ConfigError(f"data {deed} is unknown{nearest_clause(deed, DEEDS)}; it is one of {', '.join(DEEDS)}.")
    word = Arguments(words=tuple(rest)).only_word("experiment")
    from omegaconf import OmegaConf

    from funneltune.cli.compose import checked, compose_config

    overrides = [*([f"experiment={word}"] if word else []), *arguments.overrides]
    cfg = compose_config(overrides, arguments.config_dir)
    if arguments.show_config:
        say(OmegaConf.to_yaml(cfg.data))
        return 0
    checked(cfg)
    return _describe(cfg) if deed == "describe" else _validate(cfg)


def _describe(cfg: Any) -> int:
    from funneltune.data import describe
    from funneltune.runs.assemble import assemble_data
    from funneltune.runs.targets import build

    data = assemble_data(cfg, build(cfg.backbone))
    data.prepare_data()
    data.setup()  # to look at a log is no fit: `validate` and `train` look for leaks
    say(json.dumps(describe(data), indent=1, default=str))
    return 0


def _validate(cfg: Any) -> int:
    from omegaconf import OmegaConf

    from funneltune.data import validate
    from funneltune.data.leaks import Guard
    from funneltune.features import Numbers
    from funneltune.funnel import TaskFunnel
    from funneltune.runs.assemble import needed_features
    from funneltune.runs.targets import build
    from funneltune.schema import FeatureNeeds

    data: Any = OmegaConf.to_container(cfg.data, resolve=True)
    node = data.get("features") or {}
    Numbers(node.get("numbers") or {}, "plain", 1, 2)  # refuses a transform that is none
    offered, backbone = FeatureNeeds.offered(node), build(cfg.backbone)
    texts, needed = data.get("texts") or {}, needed_features(cfg, backbone)
    found = validate(
        build(cfg.data.source),
        TaskFunnel.from_config(data["tasks"]),
        build(cfg.data.split),
        texts,
        offered,
        Guard.parse(data.get("leaks")),
        read=(texts if backbone.interaction != "none" else {}, needed),
    )
    say(found.in_words())
    if unread := sorted({*offered.ids, *offered.numbers} - {*needed.ids, *needed.numbers}):
        say(f"  not searched for leaks, as this config does not read them (features=all does): {', '.join(unread)}")
    return 0


VERB = Verb(
    name="data",
    summary="what a log holds (describe), and whether it can be used (validate)",
    usage="funneltune data describe|validate [EXPERIMENT] data=CHOICE [data.path=FILE]",
    examples=("funneltune data validate data=homedepot data.path=train.csv.gz", "funneltune data describe quickstart"),
    run=run,
    keys={"data.path": "the file of a source that reads one"},
    composes=True,
)
