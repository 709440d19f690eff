"""Cross-stitch networks (Misra et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads.towers import logits_of, mlp, tower
from funneltune.schema import SHARED, HeadOutput, Space


class CrossStitch(nn.Module):
    """A network per task; behind each layer, every task goes on with a learnt combination of all tasks' activations.

    x~_i = sum_j a_ij x_j, one scalar per pair of tasks and layer (eq. 1). A unit starts near its own network:
    a_ii = `same`, the rest of 1 shared among the others (0.9 and 0.1 in the paper, which has two tasks and raises the
    units' learning rate; here they learn at the head's).

    Args:
        width: Of the encoded row.
        funnel: The tasks.
        hidden: Widths of each task's network; a unit behind each.
        dropout: Behind each layer.
        same: What a unit starts with of a task's own activations.

    Raises:
        ConfigError: if there is no layer to stitch, or `same` is no share.
    """

    space: ClassVar[Space] = "conditional"
    views = (SHARED,)

    def __init__(
        self,
        width: int,
        funnel: TaskFunnel,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.0,
        same: float = 0.9,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ConfigError("head.hidden=[] leaves no layer to stitch; name widths, or use head=single.")
        if not 0.0 <= same <= 1.0:
            raise ConfigError(f"head.same={same} must lie in [0, 1], the share of a task's own activations.")
        self.funnel = funnel
        layers = []
        for size in hidden:
            layers.append(nn.ModuleDict({name: mlp(width, (size,), dropout)[0] for name in funnel.names}))
            width = size
        self.layers = nn.ModuleList(layers)
        # One axis, so that no weight decay draws them to 0.
        self.units = nn.ParameterList([_start(len(funnel.names), same).flatten() for _ in hidden])
        self.towers = nn.ModuleDict({task.name: tower(width, (), 0.0, task) for task in funnel.tasks})

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task."""
        names = self.funnel.names
        found = [inputs[name] for name in names]
        for layer, unit in zip(self.layers, self.units, strict=True):
            networks = cast(nn.ModuleDict, layer).values()
            apart = torch.stack([net(rows) for net, rows in zip(networks, found, strict=True)], dim=1)
            found = list(torch.einsum("ij,rjd->rid", unit.view(len(names), -1), apart).unbind(1))
        logits = {
            name: logits_of(self.towers[name](rows), self.funnel[name]) for name, rows in zip(names, found, strict=True)
        }
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"))


def _start(tasks: int, same: float) -> Float[Tensor, "tasks tasks"]:
    if tasks == 1:
        return torch.ones(1, 1)
    others = (1.0 - same) / (tasks - 1)
    return torch.full((tasks, tasks), others).fill_diagonal_(same)
