"""One tower per task, nothing shared above the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.heads.towers import logits_of, tower
from funneltune.schema import HeadOutput


class Single(nn.Module):
    """Single-task towers: each predicts p(task | its edges) from the encoded row alone."""

    def __init__(self, width: int, funnel: TaskFunnel, hidden: Sequence[int] = (128,), dropout: float = 0.0) -> None:
        super().__init__()
        self.funnel = funnel
        self.towers = nn.ModuleDict({task.name: tower(width, hidden, dropout, task) for task in funnel.tasks})

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task."""
        logits = {name: logits_of(net(inputs[name]), self.funnel[name]) for name, net in self.towers.items()}
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"))
