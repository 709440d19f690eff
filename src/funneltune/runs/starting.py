"""A run that begins with the trained weights of others: of one, or of several, averaged (`start`).

Averaging is that of model soups (Wortsman et al. 2022, the uniform soup) and AdapterSoup (Chronopoulou et al. 2023):
the mean of each tensor. Low-rank factors are averaged factor by factor, as stored: a mean of factors, not of products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from funneltune.errors import RunError
from funneltune.features import Features
from funneltune.funnel import TaskFunnel
from funneltune.modules import FunnelModule
from funneltune.runs.assemble import Assembly, assemble, make_trainer
from funneltune.runs.identity import as_plain
from funneltune.runs.load import finished_config, single_process
from funneltune.runs.logs import train_log
from funneltune.runs.rehearsal import rehearse
from funneltune.runs.weights import read_weights

HOW_IT_RUNS = ("token_budget", "packed", "dropout", "remember", "cache", "cache_gb", "compile", "fallback", "sha256")
"""Keys of `backbone` that do not decide what it computes."""
NO_SHAPE = ("alpha", "activation")
"""Keys of `tuning` that decide what its weights compute, and that their shapes do not tell."""
NOT_CARRIED = ("ids",)
"""Features whose weights belong to a log's own identifiers."""
MEASURED = ("knots", "centre", "spread", "edges")
"""Of numbers: measured on the training rows of each log."""


@dataclass(frozen=True)
class Carried:
    """What a run took over from the runs that it starts from."""

    runs: tuple[Path, ...]
    parts: dict[str, int]
    """Part -> how many numbers of it were carried."""
    anew: tuple[str, ...]
    """Parts that begin anew."""


def begin(cfg: DictConfig) -> Assembly:
    """What a run is made of as its training begins: assembled, with the weights that `start` names."""
    rehearse(cfg)
    assembly = assemble(cfg)
    if folders := starts_of(cfg):
        start_from(assembly, folders)
    return assembly


def starts_of(cfg: DictConfig) -> list[Path]:
    """The runs that a config starts from; none where it starts from the backbone alone.

    Raises:
        RunError: if `start` is neither a folder nor a list of them.
    """
    asked = cfg.get("start")
    named = OmegaConf.to_container(asked) if OmegaConf.is_config(asked) else asked
    found = named if isinstance(named, list) else [] if named is None else [named]
    if odd := [one for one in found if not isinstance(one, str) or not one.strip() or ":/" in one]:
        raise RunError(f"start={odd[0]!r} must be the folder of a finished run, or a list of them: start=[RUN1,RUN2].")
    return [Path(str(one)) for one in found]


def start_from(assembly: Assembly, folders: Sequence[Path]) -> Carried:
    """Bring a freshly assembled run to the weights of a finished one, or to the mean of several.

    Carried are the tuned weights, interaction and head; of features what reads texts, vectors and numbers (numbers are
    measured anew). Tables of identifiers begin anew: another log's identifiers mean something else.

    Raises:
        RunError: if one is no finished run, of other tasks, another backbone or head, or their weights cannot be
            averaged; TuningError: if one was tuned otherwise.
    """
    for folder in folders:
        _require_alike(finished_config(folder, "start"), assembly.cfg, folder)
    read = [read_weights(folder / "weights") for folder in folders]
    methods = sorted({method for method, _ in read})
    if len(methods) > 1:
        raise RunError(
            f"start: {', '.join(map(str, folders))} were tuned by {', '.join(methods)}; average runs of one tuning."
        )
    mean = _mean([tensors for _, tensors in read], folders)
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in mean.items():
        prefix, _, rest = name.partition(".")
        parts.setdefault(prefix, {})[rest] = tensor
    if odd := sorted(parts.keys() - {"backbone", "interaction", "head", "features", "scales"}):
        raise RunError(f"start={folders[0]}: its weights hold a part {odd[0]!r} that no run has; train it anew.")
    module = assembly.module
    tuned = parts.get("backbone", {})
    module.tuning.take_up(methods[0], tuned)
    carried = {"backbone": sum(t.numel() for t in tuned.values())}
    anew: list[str] = []
    for prefix, part in (("interaction", module.interaction), ("head", module.head)):
        _load(part, parts.get(prefix, {}), prefix, folders)
        carried[prefix] = sum(t.numel() for t in parts.get(prefix, {}).values())
    for view, features in module.features.items():
        inside, left = _of_features(cast(Features, features), view, parts.get("features", {}))
        _load(features, inside, "features", folders, strict=False)
        carried["features"] = carried.get("features", 0) + sum(t.numel() for t in inside.values())
        anew += left
    return Carried(tuple(folders), {part: n for part, n in carried.items() if n}, tuple(dict.fromkeys(anew)))


def zero_shot(cfg: DictConfig, root: Path) -> tuple[FunnelModule, Assembly, Carried]:
    """Measure the weights that a config starts from on its test split, without a step of training.

    The module keeps what it predicted (`predicted["test"]`) and the metrics (`measured["test"]`).
    """
    torch.manual_seed(int(cfg.seed))
    assembly = assemble(cfg)
    carried = start_from(assembly, starts_of(cfg))
    module, data = assembly.module, assembly.data
    data.prepare_data()
    data.setup()
    module.scales.fit({name: data.training_labels(name) for name in module.scales.tasks})
    for features in module.features.values():
        cast(Features, features).fit(data.training_numbers())
    with train_log(None):
        trainer = make_trainer(single_process(cfg), root, [], [])
        trainer.test(module, datamodule=data, verbose=False)
    return module, assembly, carried


def _require_alike(source: DictConfig, target: DictConfig, folder: Path) -> None:
    """Refuse a run of other tasks, or whose weights mean something else here.

    Raises:
        RunError: naming what differs.
    """
    one, other = as_plain(source), as_plain(target)
    theirs, ours = (_tasks(plain["data"]["tasks"]) for plain in (one, other))
    if theirs != ours:
        raise RunError(
            f"start={folder} predicts {_named(theirs)}, and this run {_named(ours)}; only runs of the same tasks go on "
            "from one another."
        )
    _require_same_draw(one, other, folder)
    for group, left_out in (("backbone", HOW_IT_RUNS), ("head", ("dropout",)), ("tuning", ())):
        if group == "backbone" and one[group].get("sha256") and one[group]["sha256"] == other[group].get("sha256"):
            left_out = (*left_out, "revision")  # of which the sum tells all
        before, now = ({k: v for k, v in plain[group].items() if k not in left_out} for plain in (one, other))
        both = {**before, **now} if group != "tuning" else [key for key in NO_SHAPE if key in before and key in now]
        if odd := [key for key in both if before.get(key) != now.get(key)]:
            key = odd[0]
            raise RunError(
                f"start={folder} has {group}.{key}={before.get(key)}, and this run {now.get(key)}; give both the same "
                f"{group}."
            )


def _require_same_draw(one: Mapping[str, Any], other: Mapping[str, Any], folder: Path) -> None:
    """Refuse weights that were trained beside another draw of a backbone that is not pretrained.

    Raises:
        RunError: naming both seeds.
    """
    if other["backbone"].get("pretrained", True) is False and one["seed"] != other["seed"]:
        raise RunError(
            f"start={folder} has seed={one['seed']}, and this run {other['seed']}: backbone.pretrained=false draws the "
            "backbone by the seed; give both the same seed, or a pretrained backbone."
        )


def _tasks(node: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    funnel = TaskFunnel.from_config(node)
    return [(task.name, task.given, task.kind, task.levels) for task in funnel.tasks]


def _named(tasks: list[tuple[str, tuple[str, ...], str, tuple[str, ...]]]) -> str:
    return ", ".join(name + (f" given {' and '.join(given)}" if given else "") for name, given, _, _ in tasks)


def _mean(each: Sequence[Mapping[str, Tensor]], folders: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of each tensor; of one run, its own."""
    first = each[0]
    for folder, other in zip(folders[1:], each[1:], strict=True):
        odd = sorted(first.keys() ^ other.keys()) or [n for n in first if first[n].shape != other[n].shape]
        odd = [name for name in odd if not name.startswith("features.")]
        if odd:
            raise RunError(
                f"start: {folder} and {folders[0]} differ in {odd[0]!r} (it is missing, or has another shape), and "
                "have no mean; average runs of one tuning and size (tuning=adalora gives each run ranks of its own)."
            )
    if len(each) == 1:
        return dict(first)
    alike = [n for n in first if all(n in other and other[n].shape == first[n].shape for other in each)]
    return {name: torch.stack([one[name].double() for one in each]).mean(dim=0).to(first[name].dtype) for name in alike}


def _of_features(features: Features, view: str, stored: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a features module that mean the same in any log, and what begins anew."""
    inside = {name.removeprefix(f"{view}."): t for name, t in stored.items() if name.startswith(f"{view}.")}
    left_out = [*NOT_CARRIED, *(["attention"] if features.needs.history_ids else [])]
    kept = {
        name: tensor
        for name, tensor in inside.items()
        if name.partition(".")[0] not in left_out and name.rpartition(".")[2] not in MEASURED
    }
    return kept, [name for name in left_out if any(own.startswith(f"{name}.") for own in features.state_dict())]


def _load(
    part: nn.Module, tensors: Mapping[str, Tensor], name: str, folders: Sequence[Path], strict: bool = True
) -> None:
    """Take up tensors; unless strict, those that the part has.

    Raises:
        RunError: naming the first that is missing on a side or has another shape.
    """
    here, there = ({key: tuple(t.shape) for key, t in side.items()} for side in (part.state_dict(), tensors))
    keys = here | there if strict else [key for key in there if key in here]
    if odd := next((key for key in keys if here.get(key) != there.get(key)), None):
        shapes = " and ".join(f"{side.get(odd, 'missing')} {at}" for side, at in ((there, "there"), (here, "here")))
        raise RunError(
            f"start: the {name} of {' and '.join(map(str, folders))} does not fit this run's: {odd} is {shapes}; give "
            "all of them the same features and head."
        )
    part.load_state_dict(dict(tensors), strict=strict)
