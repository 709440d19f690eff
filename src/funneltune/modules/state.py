"""What a checkpoint holds of a run beside what torch keeps; frozen weights stay out of it, known by their sum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.tensor import DTensor

from funneltune.errors import RunError
from funneltune.records import as_json

if TYPE_CHECKING:
    from funneltune.modules.base import FunnelModule


def frozen_weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters without a gradient, by name; empty ones (an update of rank 0) hold nothing that could be frozen."""
    return {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad and p.numel()}


def sum_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names and values, whatever the device; of ranks that share a tensor, all of it."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        found.update(name.encode())
        found.update(whole.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def require_fit(module: nn.Module, stored: Mapping[str, Tensor]) -> None:
    """Refuse stored tensors that are not exactly those of the module that are not frozen.

    Raises:
        RunError: naming the first that is missing, unknown or of another shape.
    """
    own = module.state_dict()
    wanted = {name: own[name].shape for name in set(own) - set(frozen_weights(module))}
    odd = sorted(set(wanted) ^ set(stored))
    odd += [name for name, shape in wanted.items() if name in stored and stored[name].shape != shape]
    if odd:
        raise RunError(
            f"the checkpoint does not fit the run's config: {odd[0]!r} is on one side only or has another shape; "
            "go on with the config that the run began with, or train it again in another folder."
        )


def kept_of(module: FunnelModule) -> dict[str, Any]:
    """The tuning method's own state (AdaLoRA's importance averages and rank pattern), counts, the last validation."""
    return {
        "frozen": module.frozen_sum,
        "tuning": module.tuning.state_dict(),
        "steps": {
            "taken": module.steps_taken,
            "skipped": module.skipped_steps,
            "not_finite": module.finite.taken_out,
        },
        "validation": {"step": module.validated_at, "measured": as_json(module.measured.get("validation", {}))},
        **({"privacy": module.privacy.state_dict()} if module.privacy is not None else {}),
    }


def take_up(module: FunnelModule, checkpoint: Mapping[str, Any]) -> None:
    """Make a module's parameters as large as a checkpoint's, check that it fits, and set the module's counts and last
    validation to what it holds.

    Raises:
        RunError: if its tensors, or the frozen weights that it was made with, are not this run's.
    """
    module.tuning.make_room(checkpoint["tuning"])
    if "state_dict" in checkpoint:  # a sharded model has taken them over by now
        require_fit(module, checkpoint["state_dict"])
    if checkpoint["frozen"] != module.frozen_sum:
        raise RunError(
            "the backbone's frozen weights are not those that the checkpoint was made with; name the backbone "
            "(and revision) that the run began with, or train it again in another folder."
        )
    steps, validation = checkpoint["steps"], checkpoint["validation"]
    module.steps_taken, module.skipped_steps = int(steps["taken"]), int(steps["skipped"])
    module.finite.taken_out = int(steps["not_finite"])
    module.validated_at = int(validation["step"])
    if validation["measured"]:
        module.measured["validation"] = validation["measured"]
    if module.privacy is not None:
        module.privacy.load_state_dict(checkpoint["privacy"])


def restore(module: FunnelModule, checkpoint: Mapping[str, Any]) -> None:
    """Take over weights and the tuning method's state, and nothing else."""
    module.tuning.make_room(checkpoint["tuning"])
    require_fit(module, checkpoint["state_dict"])
    whole = StateDictOptions(full_state_dict=True, strict=False)  # ranks may hold parts
    set_model_state_dict(module, dict(checkpoint["state_dict"]), options=whole)
    module.tuning.load_state_dict(checkpoint["tuning"])
