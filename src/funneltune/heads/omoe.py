"""One-gate mixture of experts (Ma et al. 2018, after Jacobs et al. 1991)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.heads.experts import Experts, gate, mixed
from funneltune.heads.towers import logits_of, once, tower
from funneltune.schema import SHARED, HeadOutput, Space


class OMoE(nn.Module):
    """Experts under one gate for all tasks: a shared bottom that is a mixture.

    y_k = h_k(f(x)), f(x) = sum_i g(x)_i f_i(x) (eqs. 1 and 5). MMoE's control: tasks cannot choose experts apart.

    Args:
        width: Of the encoded row.
        funnel: The tasks.
        experts: How many.
        expert_hidden: Widths of each expert.
        gate_hidden: Widths inside the gate; none: linear, as in the paper.
        hidden: Widths of each task's tower.
        dropout: In experts, gate and towers.
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
        self.gate = gate(width, experts, gate_hidden, dropout)
        self.towers = nn.ModuleDict(
            {task.name: tower(self.experts.width, hidden, dropout, task) for task in funnel.tasks}
        )

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task; a representation that tasks share is mixed once.

        The gate's weights go by SHARED, or by the tasks where they have representations of their own.
        """
        gates = once(self.gate, inputs, self.funnel.names)
        experts = once(self.experts, inputs, self.funnel.names)
        logits = {
            name: logits_of(net(mixed(gates[name], experts[name])), self.funnel[name])
            for name, net in self.towers.items()
        }
        one = len({id(weights) for weights in gates.values()}) == 1
        shown = {SHARED: gates[self.funnel.names[0]]} if one else gates
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"), gates=shown)
