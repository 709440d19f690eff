"""From a config to the objects of a run: data, module, trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import ModelParallelStrategy
from omegaconf import DictConfig, OmegaConf

from funneltune.backbones import Backbone, Encoder, NoBackbone, build_interaction
from funneltune.callbacks import CheckpointFiles
from funneltune.data import LogDataModule
from funneltune.data.pseudonyms import pseudonymous
from funneltune.errors import ConfigError
from funneltune.features import Features, feature_needs
from funneltune.funnel import TaskFunnel
from funneltune.heads import SideTowers
from funneltune.modules import FunnelModule, module_class
from funneltune.objectives import Fixed, Objective
from funneltune.runs.extra_passes import require_extra_passes
from funneltune.runs.objective_needs import objective_needs
from funneltune.runs.pairs import readers, require_pairs
from funneltune.runs.pictures import pictures_of, vision_of
from funneltune.runs.precision import is_low_precision, resolve_precision
from funneltune.runs.privacy import datamodule, private_steps
from funneltune.runs.targets import build, made
from funneltune.runs.trainer import RunTrainer
from funneltune.schema import FeatureNeeds
from funneltune.tuning import TuningMethod

TRAINER_ARGUMENTS = ("rank_timeout",)
"""Keys of the trainer group beside Lightning's."""
DATA_ARGUMENTS = (
    "texts",
    "rows_per_batch",
    "tokens_per_batch",
    "eval_rows_per_batch",
    "max_tokens",
    "workers",
    "worker_timeout",
    "unique",
    "cache_dir",
    "slices",
    "train_share",
    "max_unknown",
    "leaks",
    "observed_until",
    "sampling",
)


@dataclass
class Assembly:
    """What a run is made of."""

    cfg: DictConfig
    backbone: Backbone | NoBackbone
    data: LogDataModule
    module: FunnelModule


def assemble_data(cfg: DictConfig, backbone: Backbone | NoBackbone) -> LogDataModule:
    """The datamodule that the config's data group describes, with the backbone's tokenizer and interaction, and the
    columns that the features and the objective need.
    """
    data = cfg.data
    plain = OmegaConf.to_container(data, resolve=True)
    assert isinstance(plain, dict)
    arguments: dict[str, Any] = {key: plain[key] for key in DATA_ARGUMENTS if key in plain}
    funnel = TaskFunnel.from_config(OmegaConf.to_container(data.tasks, resolve=True))  # type: ignore[arg-type]
    return datamodule(
        cfg,
        source=source_of(data),
        tasks=funnel,
        split=build(data.split),
        tokenizer=backbone.tokenizer(),
        interaction=backbone.interaction,
        seed=cfg.seed,
        accumulate=int(cfg.trainer.get("accumulate_grad_batches", 1)),
        features=needed_features(cfg, backbone),
        vision=vision_of(cfg),
        **objective_needs(cfg, funnel),
        **arguments,
    )


def source_of(data: DictConfig) -> Any:
    """The source that a data config names, its identifiers replaced as `pseudonyms` asks."""
    node = data.get("pseudonyms")
    return pseudonymous(build(data.source), OmegaConf.to_container(node, resolve=True) if node is not None else None)


def needed_features(cfg: DictConfig, backbone: Backbone | NoBackbone) -> FeatureNeeds:
    """What the config's features read of the log."""
    found = _plain(cfg.get("features"))
    return feature_needs(
        texts=backbone.interaction != "none",
        ids=found.get("ids") or (),
        buckets=int(found.get("buckets", 1)),
        numbers=found.get("numbers"),
        vectors=found.get("vectors") or (),
        history=int(found.get("history") or 0),
        images=pictures_of(cfg),
    )


def _plain(node: Any) -> dict[str, Any]:
    found = OmegaConf.to_container(node, resolve=True) if node is not None else {}
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def assemble(cfg: DictConfig, data: LogDataModule | None = None) -> Assembly:
    """Build data and module. Every part draws its initial weights from (seed, part), so that runs of one seed that
    differ in their tuning method start from the same head.
    """
    privacy = private_steps(cfg)
    backbone: Backbone | NoBackbone = build(cfg.backbone)
    data = data or assemble_data(cfg, backbone)
    funnel = data.funnel
    torch.manual_seed(cfg.seed)
    encoder = backbone.encoder()
    if isinstance(encoder, Encoder):
        _check_fit(encoder, data)
    interaction = build_interaction(backbone.interaction, encoder.width)
    first = _features(cfg, data, encoder.width)
    width = interaction.width + (first.width if first else 0)
    torch.manual_seed(cfg.seed + 1)
    head = made(cfg.head, width=width, funnel=funnel)
    features = {} if first is None else {head.views[0]: first}
    for number, view in enumerate(head.views[1:] if first else (), start=1):
        features[view] = cast(Features, _features(cfg, data, encoder.width, number))
    objective: Objective = made(cfg.objective, funnel=funnel)
    torch.manual_seed(cfg.seed + 4)
    asked = objective.needs.towers
    towers = SideTowers(width, asked) if asked else None
    torch.manual_seed(cfg.seed + 5)
    balancing = made(cfg.balancing, funnel=funnel) if cfg.get("balancing") else Fixed(funnel)
    adversary = build(cfg.adversary) if cfg.get("adversary") else None
    require_extra_passes(cfg, balancing, adversary)
    torch.manual_seed(cfg.seed + 2)
    tuning = build(cfg.tuning)
    require_pairs(head=head, objective=objective, tuning=tuning, features=bool(features))
    _require_place(cfg, backbone, tuning)
    tuning.apply(encoder.backbone)
    if isinstance(encoder, Encoder):
        encoder.sets = tuning.share(readers(head, funnel))
    if isinstance(encoder, Encoder) and tuning.only_multiplies and is_low_precision(cfg.trainer):
        encoder.keep_frozen_in(torch.bfloat16)
    if isinstance(encoder, Encoder) and cfg.backbone.get("compile", False):
        encoder.compile_layers()
    if isinstance(encoder, Encoder) and privacy is not None:
        # One entry of a layer's input for each text, in the order of the batch's texts.
        encoder.packed, encoder.one_chunk_in_training = False, True
    module = module_class(tuning)(
        encoder=encoder,
        interaction=interaction,
        head=head,
        features=features,
        towers=towers,
        objective=objective,
        tuning=tuning,
        funnel=funnel,
        optimizer=build(cfg.optimizer),
        scheduler=build(cfg.scheduler),
        evaluation=OmegaConf.to_container(cfg.metrics, resolve=True),  # type: ignore[arg-type]
        skip_nonfinite=int(cfg.get("skip_nonfinite", 0)),
        balancing=balancing,
        adversary=adversary,
        gradients_every=int(cfg.get("gradients_every", 0)),
        privacy=privacy,
    )
    return Assembly(cfg, backbone, data, module)


def _require_place(cfg: DictConfig, backbone: Backbone | NoBackbone, tuning: TuningMethod) -> None:
    """Refuse a tuning method where there is nothing to tune, or where it is spread over ranks and cannot be."""
    sharded = cfg.trainer.get("strategy") == "fsdp2"
    if isinstance(backbone, NoBackbone) and tuning.name != "frozen":
        raise ConfigError(f"tuning={tuning.name} has nothing to tune with backbone=none; set tuning=frozen.")
    if isinstance(backbone, NoBackbone) and sharded:
        raise ConfigError("trainer.strategy=fsdp2 shards a backbone's layers, and backbone=none; use trainer=ddp.")
    if sharded and not tuning.shardable:
        raise ConfigError(
            f"trainer.strategy=fsdp2 shards gradients, and tuning={tuning.name} needs them whole; use trainer=ddp."
        )
    if sharded and tuning.sharing != "shared":
        raise ConfigError(
            f"trainer.strategy=fsdp2 shards the weights that stand in a layer, and tuning.sharing={tuning.sharing} "
            "changes them in every step; use trainer=ddp."
        )


def _features(cfg: DictConfig, data: LogDataModule, text_width: int, view: int = 0) -> Features | None:
    """The config's features; None where it names none, so that a run without them is what it was before they existed.

    Raises:
        ConfigError: if there is neither text nor feature to learn from.
    """
    if not data.features:
        if not text_width:
            raise ConfigError("backbone=none and features=none leave nothing to learn from; choose one of them.")
        return None
    torch.manual_seed(cfg.seed + 3 + 1000 * view)
    built: Features = made(
        cfg.features,
        text_width=text_width,
        vector_widths=data.vector_widths(),
        images=data.features.images,
        texts=2 if data.interaction == "twin" else 1,
    )
    return built


def _check_fit(encoder: Encoder, data: LogDataModule) -> None:
    """Refuse texts that a backbone's tables do not reach: torch would say that an index is out of range."""
    positions, words = encoder.max_positions, int(encoder.backbone.config.vocab_size)
    if positions is not None and data.max_tokens > positions:
        raise ConfigError(
            f"data.max_tokens={data.max_tokens} must be <= {positions}, the positions that the backbone has; lower it."
        )
    if len(data.tokenizer) > words:
        raise ConfigError(
            f"backbone.architecture.vocab_size={words} must be >= {len(data.tokenizer)}, the tokenizer's; raise it."
        )


def make_trainer(cfg: DictConfig, run_dir: Path, callbacks: Sequence[Any], loggers: Sequence[Logger]) -> RunTrainer:
    """Lightning's trainer with the run folder as its root; the datamodule shards rows over ranks itself."""
    arguments = OmegaConf.to_container(cfg.trainer, resolve=True)
    assert isinstance(arguments, dict)
    arguments.pop("_target_", None)
    if arguments.get("use_distributed_sampler", False):
        raise ConfigError(
            "trainer.use_distributed_sampler=true would repeat rows and bias every metric; set it to false."
        )
    arguments["strategy"] = _strategy(arguments)
    arguments["precision"] = resolve_precision(str(arguments.get("precision", "auto")), str(arguments["accelerator"]))
    return RunTrainer(
        cfg,
        **{
            **arguments,
            "default_root_dir": str(run_dir),
            "callbacks": list(callbacks),
            "logger": list(loggers) or False,
            "use_distributed_sampler": False,
            "plugins": [CheckpointFiles()],
            # Ours is no Lightning checkpoint callback; without one, Lightning would add its own.
            "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        },
    )


def _strategy(arguments: Mapping[Any, Any]) -> Any:
    """Lightning's own word, or `fsdp2`: its ModelParallelStrategy with all ranks sharding the data and the model."""
    if arguments.get("strategy") != "fsdp2":
        return arguments.get("strategy", "auto")
    devices = arguments.get("devices")
    if not isinstance(devices, int) or devices < 1:
        raise ConfigError(
            f"trainer.devices={devices!r} must be a number with strategy=fsdp2; say how many ranks share."
        )
    ranks = devices * int(arguments.get("num_nodes", 1))
    return ModelParallelStrategy(data_parallel_size=ranks, tensor_parallel_size=1, save_distributed_checkpoint=False)


def parameter_counts(module: FunnelModule) -> tuple[int, int]:
    """(all, trainable) parameters of the encoder and of what is trained above it."""
    parameters = [p for part in (module.encoder, *module.parts_above()) for p in part.parameters()]
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)
