"""Multi-gate mixture of experts (Ma et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.heads.experts import Experts, gate, mixed
from funneltune.heads.towers import logits_of, once, tower
from funneltune.schema import SHARED, HeadOutput, Space


class MMoE(nn.Module):
    """Experts that all tasks share, and a gate per task that weighs them for each row.

    y_k = h_k(f_k(x)), f_k(x) = sum_i g_k(x)_i f_i(x), g_k(x) = softmax(W_k x) (eqs. 6-8). Sizes start as in the paper's
    study on synthetic data: 8 experts of one layer of 16, towers of one layer of 8.

    Args:
        width: Of the encoded row.
        funnel: The tasks.
        experts: How many.
        expert_hidden: Widths of each expert.
        gate_hidden: Widths inside each gate; none: linear, as in the paper.
        hidden: Widths of each task's tower.
        dropout: In experts, gates and towers.
    """

    space: ClassVar[Space] = "conditional"
    views = (SHARED,)

    def __init__(
        self,
        width: int,
        funnel: TaskFunnel,
        experts: int = 8,
        expert_hidden: Sequence[int] = (16,),
        gate_hidden: Sequence[int] = (),
        hidden: Sequence[int] = (8,),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.funnel = funnel
        self.experts = Experts(width, experts, expert_hidden, dropout)
        self.gates = nn.ModuleDict({name: gate(width, experts, gate_hidden, dropout) for name in funnel.names})
        self.towers = nn.ModuleDict(
            {task.name: tower(self.experts.width, hidden, dropout, task) for task in funnel.tasks}
        )

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task; a representation that tasks share goes through the experts once."""
        found = once(self.experts, inputs, self.funnel.names)
        gates = {name: net(inputs[name]) for name, net in self.gates.items()}
        logits = {
            name: logits_of(net(mixed(gates[name], found[name])), self.funnel[name])
            for name, net in self.towers.items()
        }
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"), gates=gates)
