"""Entire-space modelling by what shoppers do after a click (Wen et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.errors import ConfigError
from funneltune.funnel import Task, TaskFunnel
from funneltune.heads.towers import logits_of, tower
from funneltune.schema import SHARED, HeadOutput, Space


class ESM2(nn.Module):
    """A purchase comes by way of an action (into the cart), or without it; both ways are towers over one encoder.

    p(purchase | click) = p(a | click) p(purchase | a) + (1 - p(a | click)) p(purchase | no a), the post-click CVR of
    the paper. A task's *action* is the latest earlier binary task that is conditional on the same edges: in click ->
    cart -> purchase, with cart and purchase both `given: [click]`, the cart is the purchase's. A task without one has
    one tower, as in ESMM. With `objective=entire_space_bce` the losses are the paper's three: of clicks, of clicks
    with an action, of clicks with a purchase, over all impressions.

    Args:
        width: Of the encoded row.
        funnel: The tasks.
        hidden: Widths of each tower.
        dropout: In the towers.

    Raises:
        ConfigError: if no task has an action.
    """

    space: ClassVar[Space] = "conditional"
    views = (SHARED,)

    def __init__(self, width: int, funnel: TaskFunnel, hidden: Sequence[int] = (128,), dropout: float = 0.0) -> None:
        super().__init__()
        self.funnel = funnel
        self.actions = {task.name: action for task in funnel.tasks if (action := action_of(task, funnel)) is not None}
        """Task -> the action on its way."""
        if not self.actions:
            raise ConfigError(
                "head=esm2 finds no action on the way to a task: it needs two binary tasks with the same `given`, such "
                f"as cart and purchase, both given: [click] (tasks: {', '.join(funnel.names)}); name the action among "
                "data.tasks, or use head=esmm."
            )
        self.towers = nn.ModuleDict({task.name: tower(width, hidden, dropout, task) for task in funnel.tasks})
        """p(task | its edges); where there is an action, and that it happened."""
        self.without = nn.ModuleDict({name: tower(width, hidden, dropout, funnel[name]) for name in self.actions})
        """p(task | its edges, and that the action did not happen)."""

    def forward(self, inputs: Mapping[str, Float[Tensor, "rows width"]]) -> HeadOutput:
        """The conditional logits of each task, those by two ways of their mixture."""
        logits: dict[str, Tensor] = {}
        for task in self.funnel.tasks:
            rows = inputs[task.name]
            logits[task.name] = logits_of(self.towers[task.name](rows), task)
            if task.name in self.actions:
                without = logits_of(self.without[task.name](rows), task)
                logits[task.name] = by_two_ways(logits[self.actions[task.name]], logits[task.name], without)
        return HeadOutput(logits, dict.fromkeys(logits, "conditional"))


def action_of(task: Task, funnel: TaskFunnel) -> str | None:
    """The latest earlier binary task that is conditional on the same edges; None for a task without edges."""
    found = None
    for earlier in funnel.tasks[: funnel.names.index(task.name)]:
        if task.binary and task.given and earlier.binary and set(earlier.given) == set(task.given):
            found = earlier.name
    return found


def by_two_ways(
    logit_action: Float[Tensor, " rows"], logit_after: Float[Tensor, " rows"], logit_without: Float[Tensor, " rows"]
) -> Float[Tensor, " rows"]:
    """The logit of p(a) p(t | a) + (1 - p(a)) p(t | no a).

    Both p(t) and 1 - p(t) are sums of positive terms, so that their logarithms' difference is exact in both tails.
    """
    action, no_action = F.logsigmoid(logit_action), F.logsigmoid(-logit_action)
    log_p = torch.logaddexp(action + F.logsigmoid(logit_after), no_action + F.logsigmoid(logit_without))
    log_not = torch.logaddexp(action + F.logsigmoid(-logit_after), no_action + F.logsigmoid(-logit_without))
    return log_p - log_not
