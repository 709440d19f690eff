"""Ranking terms: what a positive row costs beside the other rows of its request."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel

KINDS = ("none", "ranknet", "softmax")


class ListTerm:
    """A term beside the rows' own, on log p of the joint event, over the rows of a request.

    Args:
        kind: `ranknet`: log(1 + exp(s_j - s_i)) for a positive i and each negative j of its request, the mean over j
            (Burges et al. 2005). `softmax`: -log(exp(s_i) / sum over the request of exp(s_j)) for each positive i
            (ListNet's top-1 likelihood, Cao et al. 2007, with 0/1 labels). `none`: no term.
        weight: Times the term.
        tasks: Which; all binary tasks by default.

    A positive's cost counts as its row's, 0 elsewhere, and the term is the mean over all rows of the optimizer step: it
    adds up over the step's batches, each of which holds whole requests. s is a log-probability, so RankNet's
    P(i before j) is p_i / (p_i + p_j).

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(self, kind: str = "none", weight: float = 1.0, tasks: Sequence[str] | None = None) -> None:
        if kind not in KINDS:
            raise ConfigError(f"objective.lists.kind={kind!r} must be one of {', '.join(KINDS)}.")
        if not weight >= 0:
            raise ConfigError(f"objective.lists.weight={weight} must be >= 0.")
        self.kind, self.weight, self.tasks = kind, weight, tuple(tasks or ())

    def of(self, funnel: TaskFunnel) -> tuple[str, ...]:
        """The tasks that it applies to.

        Raises:
            ConfigError: if one is no binary task of the funnel.
        """
        names = tuple(task.name for task in funnel.binary)
        for task in self.tasks:
            if task not in names:
                raise ConfigError(f"objective.lists.tasks={task!r} names no binary task; there are {', '.join(names)}.")
        return () if self.kind == "none" else self.tasks or names

    def __call__(
        self,
        score: Float[Tensor, " rows"],
        label: Float[Tensor, " rows"],
        request: Int[Tensor, " rows"],
        standing: Float[Tensor, " rows"],
    ) -> Float[Tensor, " rows"]:
        """The cost of each row, `weight` included. `label` is 0, 1, or 1 over its propensity; `standing` is what a row
        counts for, 0 where it is left out.
        """
        _, number, size = torch.unique(request, return_inverse=True, return_counts=True)
        order = torch.argsort(number, stable=True)
        first = size.cumsum(0) - size
        positive = ((label > 0) & (standing > 0)).nonzero().squeeze(1)
        if len(positive) == 0:
            return score * 0.0
        slot = torch.arange(int(size.max()), device=score.device)
        of = number[positive].unsqueeze(1)
        inside = slot < size[of]  # (positives, rows of the largest request)
        others = order[(first[of] + slot).clamp(max=len(order) - 1)]
        counts = torch.where(inside, standing[others], 0.0)
        mine = score[positive].unsqueeze(1)
        if self.kind == "softmax":
            held = (score[others] + counts.clamp(min=1e-30).log()).masked_fill(counts <= 0, -torch.inf)
            cost = torch.logsumexp(held, dim=1) - mine.squeeze(1)
        else:
            counts = counts * (label[others] <= 0)
            pairs = torch.where(counts > 0, F.softplus(score[others] - mine), 0.0)
            cost = (counts * pairs).sum(1) / counts.sum(1).clamp(min=1e-30)
        return torch.zeros_like(score).index_put((positive,), self.weight * label[positive] * cost)
