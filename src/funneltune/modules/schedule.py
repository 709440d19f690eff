"""Learning-rate schedules as plain functions of the optimizer step, and which parameters decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from funneltune.errors import ConfigError


def warmup_linear(optimizer: Optimizer, total_steps: int, warmup_share: float = 0.1) -> LambdaLR:
    """Rise linearly to each group's rate over the first `warmup_share` of the steps, then fall linearly to zero.

    The schedule of BERT (Devlin et al. 2019) and of the Adapter paper. The first step already moves the weights.
    """
    if not 0.0 <= warmup_share < 1.0:
        raise ConfigError(f"scheduler.warmup_share={warmup_share} must lie in [0, 1); lower it.")
    warmup = max(1, round(total_steps * warmup_share))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return max(0.0, (total_steps - step) / max(1, total_steps - warmup))

    return LambdaLR(optimizer, factor)


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:  # noqa: ARG001 (every schedule is called alike)
    """Keep each group's rate."""
    return LambdaLR(optimizer, lambda _: 1.0)


def split_by_decay(groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each group in two: matrices, and vectors (biases, LayerNorm), which take no weight decay, as in BERT."""
    split = []
    for group in groups:
        for decays in (True, False):
            chosen = [p for p in group["params"] if (p.ndim >= 2) == decays]
            if chosen:
                name = group["name"] + ("" if decays else "_no_decay")
                split.append(group | {"name": name, "params": chosen} | ({} if decays else {"weight_decay": 0.0}))
    return split
