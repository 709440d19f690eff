"""The config of a run on the target: the source's own, on the target's log, from other weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from funneltune.errors import ConfigError
from funneltune.experiments.transfer.settings import Start
from funneltune.funnel import TaskFunnel
from funneltune.runs.identity import as_plain

KEPT = ("cache_dir", "workers", "rows_per_batch", "tokens_per_batch", "eval_rows_per_batch", "max_tokens", "unique")
"""Keys of `data` that say how a run reads a log, not which: they stay the source's."""
QUIET: Mapping[str, Any] = {
    "study": None,
    "search": None,
    "resume": "auto",
    "run_dir": None,
    "logger": {},
    "baselines": [],
    "test": True,
}


def onto(
    source: DictConfig, data: DictConfig | None, changes: Mapping[str, Any], tasks: Mapping[str, str]
) -> DictConfig:
    """The source's config on the target's log.

    Args:
        source: Of the run whose weights are carried.
        data: The `data` node of the target's experiment or data set; None: the source's own log, changed.
        changes: Dotted keys of the config -> values.
        tasks: The run's task -> the target's label that is read as it.

    Raises:
        ConfigError: if the tasks are not the run's, or labels cannot be renamed.
    """
    cfg = OmegaConf.create(as_plain(source))
    if data is not None:
        told = OmegaConf.to_container(data, resolve=True)
        assert isinstance(told, dict)
        cfg.data = {**told, **{key: cfg.data[key] for key in KEPT if key in cfg.data}}
    for key, value in {**QUIET, **changes}.items():
        OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    OmegaConf.update(cfg, "trainer.enable_progress_bar", False)
    if tasks:
        _rename(cfg, tasks)
    OmegaConf.resolve(cfg)
    _require_tasks(source, cfg)
    cfg.monitor = f"validation/{last_rate(funnel_of(cfg))}/auc"
    return cfg


def funnel_of(cfg: DictConfig) -> TaskFunnel:
    """The tasks of a config."""
    return TaskFunnel.from_config(as_plain(cfg)["data"]["tasks"])


def last_rate(funnel: TaskFunnel) -> str:
    """What tables call the log's last task, with all that leads to it."""
    last = funnel.logged.tasks[-1]
    return last.joint_rate if last.given and last.binary else last.rate


def _rename(cfg: DictConfig, tasks: Mapping[str, str]) -> None:
    """Call the target's labels by the run's tasks, in the source's columns and in the funnel."""
    plain = as_plain(cfg)["data"]
    labels, funnel = plain["source"].get("labels"), plain["tasks"]
    if not isinstance(labels, dict):
        raise ConfigError("tasks renames the labels of a table, and the target's data.source has none; leave it out.")
    if odd := next((label for label in tasks.values() if label not in labels or label not in funnel), None):
        raise ConfigError(f"tasks: {odd} is no label of the target; it has {', '.join(labels)}.")
    new = {label: task for task, label in tasks.items()}

    def edge(text: str) -> str:
        return ("!" if text.startswith("!") else "") + new.get(text.removeprefix("!"), text.removeprefix("!"))

    cfg.data.source.labels = {new.get(name, name): column for name, column in labels.items()}
    cfg.data.tasks = {
        new.get(name, name): {**task, "given": [edge(one) for one in task.get("given") or ()]}
        for name, task in funnel.items()
    }


def _require_tasks(source: DictConfig, target: DictConfig) -> None:
    ours, theirs = (funnel_of(cfg) for cfg in (source, target))
    shapes = [[(t.name, t.given, t.kind, t.levels) for t in funnel.tasks] for funnel in (ours, theirs)]
    if shapes[0] != shapes[1]:
        pairs = ",".join(f"{one}:{other}" for one, other in zip(ours.names, theirs.names, strict=False))
        raise ConfigError(
            f"the run predicts {', '.join(ours.names)}, and the target's log {', '.join(theirs.names)}; name its "
            f"labels (tasks={pairs}), or choose another."
        )


def beginning(cfg: DictConfig, start: Start, run: Path, seed: int) -> DictConfig:
    """The target's config from one start, with one seed.

    Raises:
        ConfigError: if a run is named twice, or there is nothing to fuse in the run.
    """
    found = cfg.copy()
    found.seed = seed
    folders = [str(run), *start.others]
    places = [Path(folder).resolve() for folder in folders]
    if twice := next((folder for n, folder in enumerate(folders) if places[n] in places[:n]), None):
        raise ConfigError(
            f"start={start.kind}:{','.join(start.others)} names {twice} twice (run={run} counts, too); name other runs."
        )
    found.start = None if start.kind == "pretrained" else folders if start.others else str(run)
    if start.kind == "fusion":
        if "activation" not in cfg.tuning:
            raise ConfigError(
                f"start=fusion:... fuses bottleneck adapters, and run={run} has tuning={cfg.tuning._target_}; use "
                "start=average:..., or runs with tuning=pfeiffer."
            )
        found.tuning = {
            "_target_": "funneltune.tuning.Fusion",
            "runs": folders,
            "activation": cfg.tuning.activation,
            "learning_rate": cfg.tuning.learning_rate,
        }
    return found


def share(cfg: DictConfig, start: Start, shots: int, requests: int) -> DictConfig:
    """The config of a run on so many of the target's training requests; more of them hold the fewer."""
    found = cfg.copy()
    found.name = f"{start.name}, {shots} requests"  # what a report of the runs tells them apart by
    OmegaConf.update(found, "data.train_share", shots / requests, force_add=True)
    return found


def texts_read(cfg: DictConfig) -> bool:
    """Whether there is a backbone that could carry anything to another log."""
    return not str(cfg.backbone.get("_target_")).endswith(".NoBackbone")


def left_behind(anew: Sequence[str]) -> str:
    """A sentence on what began anew."""
    return f"Tables of identifiers begin anew ({', '.join(anew)}): those of another log mean other things."
