"""Parameters that a tuning method replaced while training: the optimizer and DDP go on with the new ones."""

from __future__ import annotations

import gc
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor
from torch.optim import Optimizer

from funneltune.tuning import ParameterChange, Replaced


def take_over(change: ParameterChange, optimizer: Optimizer, strategy: Strategy) -> None:
    """Let an optimizer and a strategy go on with a tuning method's new parameters, exactly."""
    move_state(change, optimizer)
    if isinstance(strategy, DDPStrategy):
        _wrap_again(strategy)


def move_state(change: ParameterChange, optimizer: Optimizer) -> None:
    """Put new parameters in the old ones' places.

    Groups keep their order, rates and decay. A tensor of the old parameter's shape (a moment) keeps its values where
    the parameter did; what else is known of the parameter (the count of its steps) stays. Parameters that are empty now
    leave their group.
    """
    found = {id(one.old): one for one in change.replaced}
    for group in optimizer.param_groups:
        parameters = [found[id(p)].new if id(p) in found else p for p in group["params"]]
        group["params"][:] = [p for p in parameters if p.numel()]
    for one in change.replaced:
        kept = optimizer.state.pop(one.old, None)
        if kept is not None and one.new.numel():
            optimizer.state[one.new] = {name: _sliced(value, one) for name, value in kept.items()}


def _sliced(value: Any, one: Replaced) -> Any:
    if not isinstance(value, Tensor) or value.shape != one.old.shape:
        return value
    return torch.index_select(value, one.dim, one.kept.to(value.device))


def _wrap_again(strategy: DDPStrategy) -> None:
    """DDP reduces gradients in buckets that hold the old parameters: a fresh one is put around the module.

    The old one goes first: its hooks sit on the parameters that stay, until it is collected.
    """
    module = strategy.lightning_module
    assert module is not None
    strategy.model = module
    gc.collect()
    strategy.configure_ddp()
