"""A bottom that all tasks share, a tower for each (Caruana 1997)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.heads.towers import mlp, tower
from funneltune.schema import HeadOutput


class SharedBottom(nn.Module):
    """Hard parameter sharing: `bottom` is shared, `hidden` belongs to each task's tower."""

    def __init__(
        self,
        width: int,
        funnel: TaskFunnel,
        bottom: Sequence[int] = (128,),
        hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.bottom, shared = mlp(width, bottom, dropout)
        self.towers = nn.ModuleDict({name: tower(shared, hidden, dropout) for name in funnel.names})

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """One conditional logit per task; a representation that tasks share goes through the bottom once."""
        passed: dict[int, Tensor] = {}
        for vectors in inputs.values():
            if id(vectors) not in passed:
                passed[id(vectors)] = self.bottom(vectors)
        logits = {name: network(passed[id(inputs[name])]).squeeze(-1) for name, network in self.towers.items()}
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"))
