"""Gradients' norm and clipping, once an optimizer step, for every module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def gradients(optimizer: Optimizer) -> tuple[list[nn.Parameter], Tensor]:
    """An optimizer's parameters that have a gradient, and the total norm of their gradients (sharded as they are)."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return parameters, torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def clip(parameters: Sequence[nn.Parameter], norm: Tensor, limit: float | None, algorithm: str | None) -> None:
    """Scale gradients of a total norm down to `limit`, or with `algorithm=value` cut each of their elements.

    Lightning refuses to clip for a fused optimizer under bfloat16 too, where there is nothing to unscale; done here.
    """
    if not limit:
        return
    if algorithm == "value":
        torch.nn.utils.clip_grad_value_(parameters, limit)
    else:
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
