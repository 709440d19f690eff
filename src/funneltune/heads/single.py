"""One tower per task, nothing shared above the encoder; with features of their own, nothing shared at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.heads.towers import logits_of, tower
from funneltune.schema import SHARED, HeadOutput, Space


class Single(nn.Module):
    """Single-task towers: each predicts p(task | its edges) from the encoded row alone.

    Args:
        width: Of the encoded row.
        funnel: The tasks.
        hidden: Widths of each task's tower.
        dropout: In the towers.
        own_features: Each task embeds the features for itself; with `tuning.sharing=per_task`, or without a backbone,
            the tasks are then trained as if each were alone.
    """

    space: ClassVar[Space] = "conditional"

    def __init__(
        self,
        width: int,
        funnel: TaskFunnel,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.0,
        own_features: bool = False,
    ) -> None:
        super().__init__()
        self.funnel, self.own_features = funnel, own_features
        self.towers = nn.ModuleDict({task.name: tower(width, hidden, dropout, task) for task in funnel.tasks})

    @property
    def views(self) -> tuple[str, ...]:
        """One of each task's own, or the shared one."""
        return self.funnel.names if self.own_features else (SHARED,)

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task."""
        logits = {name: logits_of(net(inputs[name]), self.funnel[name]) for name, net in self.towers.items()}
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"))
