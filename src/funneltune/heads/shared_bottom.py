"""A bottom that all tasks share, a tower for each (Caruana 1997)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.heads.towers import logits_of, mlp, once, tower
from funneltune.schema import SHARED, HeadOutput, Space


class SharedBottom(nn.Module):
    """Hard parameter sharing: `bottom` is shared, `hidden` belongs to each task's tower."""

    space: ClassVar[Space] = "conditional"
    views = (SHARED,)

    def __init__(
        self,
        width: int,
        funnel: TaskFunnel,
        bottom: Sequence[int] = (128,),
        hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.bottom, shared = mlp(width, bottom, dropout, "bottom")
        self.funnel = funnel
        self.towers = nn.ModuleDict({task.name: tower(shared, hidden, dropout, task) for task in funnel.tasks})

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task; a representation that tasks share goes through the bottom once."""
        passed = once(self.bottom, inputs, self.funnel.names)
        logits = {name: logits_of(net(passed[name]), self.funnel[name]) for name, net in self.towers.items()}
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"))
