"""Progressive layered extraction and its one-level form, customised gate control (Tang et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads.experts import Experts, gate, mixed
from funneltune.heads.towers import logits_of, tower
from funneltune.schema import SHARED, HeadOutput, Space

LEVELS = (1, 2, 3)


class PLE(nn.Module):
    """Experts of each task's own beside shared ones, level by level.

    A task's gate weighs its own experts and the shared ones, never another task's: y_k = t_k(g_k(x)),
    g_k(x) = w_k(x) S_k(x), w_k(x) = softmax(W_k x) (CGC). With more levels each reads the one below,
    g_kj(x) = w_kj(g_k,j-1(x)) S_kj(x), and a shared gate, which weighs *all* experts of its level, feeds the shared
    experts of the next. So another task's experts are reached through lower levels, not through the last.

    The paper compares two levels of one-layer experts under towers, and tunes how many experts there are.

    Args:
        width: Of the encoded row.
        funnel: The tasks.
        levels: 1 (CGC), 2 or 3.
        task_experts: Of each task's own, per level.
        shared_experts: Per level.
        expert_hidden: Widths of each expert, at every level.
        gate_hidden: Widths inside each gate; none: linear, as in the paper.
        hidden: Widths of each task's tower.
        dropout: In experts, gates and towers.

    Raises:
        ConfigError: if a size is out of range.
    """

    space: ClassVar[Space] = "conditional"
    views = (SHARED,)

    def __init__(
        self,
        width: int,
        funnel: TaskFunnel,
        levels: int = 2,
        task_experts: int = 2,
        shared_experts: int = 2,
        expert_hidden: Sequence[int] = (64,),
        gate_hidden: Sequence[int] = (),
        hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if levels not in LEVELS:
            raise ConfigError(f"head.levels={levels} must be 1 (CGC), 2 or 3.")
        self.funnel = funnel
        built = []
        for level in range(1, levels + 1):
            last = level == levels
            built.append(
                Extraction(
                    width, funnel.names, task_experts, shared_experts, expert_hidden, gate_hidden, dropout, last=last
                )
            )
            width = expert_hidden[-1]
        self.levels = nn.ModuleList(built)
        self.towers = nn.ModuleDict({task.name: tower(width, hidden, dropout, task) for task in funnel.tasks})

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task, and the gates by `levelJ/TASK` and `levelJ/shared`."""
        found = {name: inputs[name] for name in self.funnel.names}
        found[SHARED] = shared_of(inputs, self.funnel.names)
        gates: dict[str, Tensor] = {}
        for number, level in enumerate(self.levels, start=1):
            found, weights = level(found)
            gates |= {f"level{number}/{name}": rows for name, rows in weights.items()}
        logits = {name: logits_of(net(found[name]), self.funnel[name]) for name, net in self.towers.items()}
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"), gates=gates)


class Extraction(nn.Module):
    """One level: each task's experts, the shared ones, and the gates above them; the last has no shared gate.

    A gate's weights are of the task's own experts, then of the shared ones; the shared gate's of all tasks' in funnel
    order, then of the shared ones.
    """

    def __init__(
        self,
        width: int,
        tasks: Sequence[str],
        task_experts: int,
        shared_experts: int,
        expert_hidden: Sequence[int],
        gate_hidden: Sequence[int],
        dropout: float,
        *,
        last: bool,
    ) -> None:
        super().__init__()
        self.own = nn.ModuleDict(
            {name: Experts(width, task_experts, expert_hidden, dropout, "task_experts") for name in tasks}
        )
        self.shared = Experts(width, shared_experts, expert_hidden, dropout, "shared_experts")
        self.gates = nn.ModuleDict(
            {name: gate(width, task_experts + shared_experts, gate_hidden, dropout) for name in tasks}
        )
        everyone = len(tasks) * task_experts + shared_experts
        self.shared_gate = None if last else gate(width, everyone, gate_hidden, dropout)

    def forward(
        self, below: Mapping[str, Float[Tensor, "rows width"]]
    ) -> tuple[dict[str, Float[Tensor, "rows out"]], dict[str, Float[Tensor, "rows experts"]]]:
        """What each task makes of the level below, and SHARED where another level follows; the gates' weights."""
        own = {name: experts(below[name]) for name, experts in self.own.items()}
        shared = self.shared(below[SHARED])
        weights = {name: net(below[name]) for name, net in self.gates.items()}
        found = {name: mixed(weights[name], torch.cat([own[name], shared], dim=1)) for name in own}
        if self.shared_gate is not None:
            weights[SHARED] = self.shared_gate(below[SHARED])
            found[SHARED] = mixed(weights[SHARED], torch.cat([*own.values(), shared], dim=1))
        return found, weights


def shared_of(inputs: Mapping[str, Float[Tensor, "rows width"]], tasks: Sequence[str]) -> Float[Tensor, "rows width"]:
    """What shared experts read: the shared representation; where there are only the tasks' own, their mean."""
    if SHARED in inputs:
        return inputs[SHARED]
    distinct = list({id(inputs[name]): inputs[name] for name in tasks}.values())
    return distinct[0] if len(distinct) == 1 else torch.stack(distinct).mean(dim=0)
