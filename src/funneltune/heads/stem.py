"""Shared and task-specific embeddings (Su et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.heads.experts import Experts, gate, mixed
from funneltune.heads.towers import logits_of, tower
from funneltune.schema import SHARED, HeadOutput, Space


class STEM(nn.Module):
    """A table of embeddings that all tasks share and one of each task's own, each under experts of its own.

    All forward, task-specific backward: a task's gate weighs the experts of all tasks and the shared ones, but no
    gradient of its loss enters another task's experts or embeddings. Its gate reads x_task + x_shared, as the authors'
    code has it; so do the sizes.

    Args:
        width: Of each representation.
        funnel: The tasks.
        task_experts: Of each task's own.
        shared_experts: How many.
        expert_hidden: Widths of each expert.
        gate_hidden: Widths inside each gate.
        hidden: Widths of each task's tower.
        dropout: In experts, gates and towers.
    """

    space: ClassVar[Space] = "conditional"

    def __init__(
        self,
        width: int,
        funnel: TaskFunnel,
        task_experts: int = 1,
        shared_experts: int = 1,
        expert_hidden: Sequence[int] = (512, 256, 128),
        gate_hidden: Sequence[int] = (128, 64),
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.funnel = funnel
        self.own = nn.ModuleDict(
            {name: Experts(width, task_experts, expert_hidden, dropout, "task_experts") for name in funnel.names}
        )
        self.shared = Experts(width, shared_experts, expert_hidden, dropout, "shared_experts")
        everyone = len(funnel.names) * task_experts + shared_experts
        self.gates = nn.ModuleDict({name: gate(width, everyone, gate_hidden, dropout) for name in funnel.names})
        self.towers = nn.ModuleDict(
            {task.name: tower(self.shared.width, hidden, dropout, task) for task in funnel.tasks}
        )

    @property
    def views(self) -> tuple[str, ...]:
        """The shared representation, and one of each task's own."""
        return (SHARED, *self.funnel.names)

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task, and the gates by `stem/TASK`: of all tasks' experts in funnel order,
        then of the shared ones.
        """
        own = {name: experts(inputs[name]) for name, experts in self.own.items()}
        others = {name: found.detach() for name, found in own.items()}
        shared = self.shared(inputs[SHARED])
        logits: dict[str, Tensor] = {}
        gates: dict[str, Tensor] = {}
        for task in self.funnel.tasks:
            weights = self.gates[task.name](inputs[task.name] + inputs[SHARED])
            everyone = (others | {task.name: own[task.name]}).values()
            found = mixed(weights, torch.cat([*everyone, shared], dim=1))
            logits[task.name] = logits_of(self.towers[task.name](found), task)
            gates[f"stem/{task.name}"] = weights
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"), gates=gates)
