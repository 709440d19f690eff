"""Weights that training does not move: left out of checkpoints, known by their sum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from funneltune.errors import RunError


def frozen_weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters without a gradient, by name."""
    return {name: parameter.detach() for name, parameter in module.named_parameters() if not parameter.requires_grad}


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
