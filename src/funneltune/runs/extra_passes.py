"""Where a second backward pass through a batch's graph, or a task's gradient as a whole, is not to be had."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig

from funneltune.errors import ConfigError
from funneltune.modules import Adversary
from funneltune.objectives import Balancing
from funneltune.runs.precision import resolve_precision


def require_extra_passes(cfg: DictConfig, balancing: Balancing, adversary: Adversary | None) -> None:
    """Refuse parts that go through a batch's graph more than once where that cannot be.

    Raises:
        ConfigError: with every reason.
    """
    if found := list(_refusals(cfg, balancing, adversary)):
        raise ConfigError("; ".join(found) + ".")


def _refusals(cfg: DictConfig, balancing: Balancing, adversary: Adversary | None) -> Iterator[str]:
    asking = [f"balancing={balancing.word}"] if balancing.gradients != "none" else []
    asking += [f"gradients_every={cfg.gradients_every}"] if cfg.get("gradients_every") else []
    trainer, precision = cfg.trainer, str(cfg.trainer.get("precision", "auto"))
    scaled = resolve_precision(precision, str(trainer.accelerator)) == "16-mixed"
    for word in asking:
        if scaled:
            yield (
                f"{word} takes gradients of single tasks, which float16 needs scaled, and the scaler knows the whole "
                "loss only; use trainer.precision=bf16-mixed or 32-true"
            )
    asking += [f"adversary={adversary.name}"] if adversary else []
    sharded = trainer.get("strategy") == "fsdp2"
    if sharded and any(True for _ in balancing.parameters()):
        yield (
            f"balancing={balancing.word} has weights of its own, which trainer.strategy=fsdp2 neither shards nor "
            "reduces; use trainer=ddp"
        )
    for word in asking:
        if sharded:
            yield (
                f"{word} goes through a batch more than once, and trainer.strategy=fsdp2 reduces and frees a layer's "
                "gradients after each pass; use trainer=ddp"
            )
        if cfg.backbone.get("compile", False):
            yield (
                f"{word} goes through a batch more than once, and compiled layers free what a second pass reads; set "
                "backbone.compile=false"
            )
