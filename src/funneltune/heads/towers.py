"""The multilayer perceptron that every head is built from, and what it ends in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.errors import ConfigError
from funneltune.funnel import Task

Found = TypeVar("Found")


def check_sizes(hidden: Sequence[int], dropout: float, field: str = "hidden") -> None:
    """Widths of layers, by the config's word for them, and the share of their outputs that is dropped.

    Raises:
        ConfigError: if one is out of range.
    """
    if any(size < 1 for size in hidden):
        raise ConfigError(f"head.{field}={list(hidden)} must hold widths >= 1.")
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"head.dropout={dropout} must lie in [0, 1).")


def mlp(width: int, hidden: Sequence[int], dropout: float, field: str = "hidden") -> tuple[nn.Sequential, int]:
    """Linear, ReLU and dropout per entry of `hidden`; returns the network and the width of its output."""
    check_sizes(hidden, dropout, field)
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers), width


class Cutpoints(nn.Module):
    """One score to the K - 1 logits of p(level > k): score - cut_k with rising cuts.

    Proportional odds (McCullagh 1980). The cuts start so that a score of 0 makes all K levels equally likely.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        share = torch.arange(1, levels) / levels
        cuts = torch.logit(share)
        self.first = nn.Parameter(cuts[:1])
        self.log_steps = nn.Parameter(torch.log(torch.expm1(cuts.diff())))  # softplus of these are the steps

    def forward(self, score: Float[Tensor, "rows 1"]) -> Float[Tensor, "rows cuts"]:
        """The logits, falling from left to right."""
        steps = F.softplus(self.log_steps).cumsum(0)
        return score - torch.cat([self.first, self.first + steps])


def tower(width: int, hidden: Sequence[int], dropout: float, task: Task | None = None) -> nn.Sequential:
    """An MLP that ends in what a task predicts (one logit by default).

    The last layer starts small, so that a head starts near p = 1/2, all levels alike, or the mean.
    """
    network, top = mlp(width, hidden, dropout)
    ordinal = task is not None and task.kind == "ordinal"
    last = nn.Linear(top, task.outputs if task is not None and not ordinal else 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    if not ordinal:
        return nn.Sequential(network, last)
    assert task is not None
    last.register_parameter("bias", None)  # the cuts are its bias
    return nn.Sequential(network, last, Cutpoints(len(task.levels)))


class Positions(nn.Module):
    """A logit of p(seen) per position, counted from 0: position 0 is always seen, the last one stands for all below it.

    Other positions start at p(seen) = 0.88. One axis, so that no weight decay draws them to 1/2.
    """

    def __init__(self, positions: int = 256) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.full((positions,), 2.0))

    def forward(self, position: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """The logit of each row; 30, that is 1 in float32, at position 0."""
        place = position.long().clamp(0, len(self.logit) - 1)
        return torch.where(place > 0, self.logit[place], 30.0)


class SideTowers(nn.Module):
    """What an objective asks for beside the tasks' logits: a tower for each `KIND/TASK`, on that task's input.

    `examination/TASK` is no tower but a table over the log's `position` column (`Positions`).

    Args:
        width: Of the task's input.
        names: `imputation/purchase`, `counterfactual/purchase`, ...
        hidden: Widths of each tower.
        dropout: In the towers.
    """

    def __init__(self, width: int, names: Sequence[str], hidden: Sequence[int] = (64,), dropout: float = 0.0) -> None:
        super().__init__()
        self.names = tuple(names)
        self.towers = nn.ModuleList(
            [Positions() if name.startswith("examination/") else tower(width, hidden, dropout) for name in self.names]
        )

    def forward(
        self, inputs: Mapping[str, Float[Tensor, "rows width"]], columns: Mapping[str, Float[Tensor, " rows"]]
    ) -> dict[str, Float[Tensor, " rows"]]:
        """A logit per name and row; `columns` are the batch's."""
        return {
            name: net(columns["position"])
            if isinstance(net, Positions)
            else net(inputs[name.partition("/")[2]]).squeeze(-1)
            for name, net in zip(self.names, self.towers, strict=True)
        }


def logits_of(raw: Float[Tensor, "rows outputs"], task: Task) -> Float[Tensor, rows * outputs]:
    """A tower's output as `HeadOutput` has it: one axis where there is one number."""
    return raw if task.has_levels else raw.squeeze(-1)


def once(
    function: Callable[[Tensor], Found], inputs: Mapping[str, Float[Tensor, "rows width"]], tasks: Iterable[str]
) -> dict[str, Found]:
    """A function of each task's input, called once where tasks share one tensor."""
    found: dict[int, Found] = {}
    for task in tasks:
        if id(inputs[task]) not in found:
            found[id(inputs[task])] = function(inputs[task])
    return {task: found[id(inputs[task])] for task in tasks}
