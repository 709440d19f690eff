"""Adaptive information transfer among the steps of a conversion (Xi et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.errors import ConfigError
from funneltune.funnel import Edge, TaskFunnel
from funneltune.heads.towers import logits_of, mlp, tower
from funneltune.schema import SHARED, HeadOutput, Space


class AITM(nn.Module):
    """Each step reads what the step before it passes on, weighed against its own, and predicts the joint event.

    q_t = f_t(x); z_t = AIT(p_t-1, q_t) and p_t-1 = g_t-1(z_t-1), where there is a step before, else z_t = q_t;
    p(task and all on the way to it) = sigmoid(z_t's layer). The *calibrator* holds that a step is no likelier than the
    one before: alpha * max(p_t - p_t-1, 0) joins the loss. Layers of 128, 64, 32 and alpha = 0.6 are the paper's.

    The step before a task is its deepest edge; what bounds its probability, the deepest edge on the way that must have
    happened. A task that is not binary takes part in the transfer alone: its logits stay conditional.

    Args:
        width: Of the encoded row.
        funnel: The tasks.
        hidden: Widths of each task's own network f_t; the last one is the transfer's.
        dropout: In f_t and g_t.
        alpha: Weight of the calibrator; 0: none.

    Raises:
        ConfigError: if a size is out of range.
    """

    space: ClassVar[Space] = "marginal"
    views = (SHARED,)

    def __init__(
        self,
        width: int,
        funnel: TaskFunnel,
        hidden: Sequence[int] = (128, 64, 32),
        dropout: float = 0.0,
        alpha: float = 0.6,
    ) -> None:
        super().__init__()
        if not 0 <= alpha < math.inf:
            raise ConfigError(f"head.alpha={alpha} must be >= 0, the weight of the calibrator; 0 leaves it out.")
        self.funnel, self.alpha = funnel, alpha
        self.before: dict[str, str] = {}
        """Task -> the step that it hears from."""
        self.bounds: dict[str, str] = {}
        """Task -> the step that it cannot be likelier than."""
        for task in funnel.tasks:
            self._note(self.before, task.name, task.edges)
            if task.binary:
                self._note(self.bounds, task.name, (e for e in funnel.way_to(task.name) if e.holds))
        own = {name: mlp(width, hidden, dropout) for name in funnel.names}
        size = hidden[-1] if hidden else width
        self.own = nn.ModuleDict({name: network for name, (network, _) in own.items()})
        self.passed = nn.ModuleDict(
            {name: mlp(size, (size,), dropout)[0] for name in dict.fromkeys(self.before.values())}
        )
        self.transfers = nn.ModuleDict({name: Transfer(size) for name in self.before})
        self.towers = nn.ModuleDict({task.name: tower(size, (), 0.0, task) for task in funnel.tasks})

    def _note(self, found: dict[str, str], task: str, edges: Iterable[Edge]) -> None:
        names = [edge.name for edge in edges]
        if names:
            place = self.funnel.names.index
            found[task] = max(names, key=lambda name: (len(self.funnel.way_to(name)), place(name)))

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """Marginal logits of binary tasks, conditional ones of others; the transfers' weights by `aitm/TASK`: of what
        is passed on, and of the task's own.
        """
        passed: dict[str, Tensor] = {}
        logits: dict[str, Tensor] = {}
        gates: dict[str, Tensor] = {}
        for task in self.funnel.tasks:
            found = self.own[task.name](inputs[task.name])
            if task.name in self.before:
                found, gates[f"aitm/{task.name}"] = self.transfers[task.name](passed[self.before[task.name]], found)
            if task.name in self.passed:
                passed[task.name] = self.passed[task.name](found)
            logits[task.name] = logits_of(self.towers[task.name](found), task)
        spaces: dict[str, Space] = {t.name: "marginal" if t.binary else "conditional" for t in self.funnel.tasks}
        return HeadOutput(logits, spaces, gates=gates, penalties=self._calibrator(logits))

    def _calibrator(self, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not self.alpha:
            return {}
        return {
            f"calibrator_{task}": self.alpha * F.relu(torch.sigmoid(logits[task]) - torch.sigmoid(logits[earlier]))
            for task, earlier in self.bounds.items()
        }


class Transfer(nn.Module):
    """AIT: attention over what the step before passes on and the task's own, each with its own query.

    z = sum_u w_u V(u), w_u = softmax_u(<Q(u), K(u)> / sqrt(k)), u being either of the two.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(
        self, passed: Float[Tensor, "rows width"], own: Float[Tensor, "rows width"]
    ) -> tuple[Float[Tensor, "rows width"], Float[Tensor, "rows 2"]]:
        """z, and the two weights."""
        both = torch.stack([passed, own], dim=1)
        scores = (self.query(both) * self.key(both)).sum(-1) / math.sqrt(both.shape[-1])
        weights = scores.softmax(dim=1)
        return torch.einsum("ru,rud->rd", weights, self.value(both)), weights
