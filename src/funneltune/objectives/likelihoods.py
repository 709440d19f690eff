"""What a label costs under a prediction, row by row: the negative log-likelihood of each kind of task."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.funnel import Task
from funneltune.schema import level_log_probabilities, log1mexp


def bernoulli_nll(log_p: Float[Tensor, " rows"], label: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """-[y log p + (1 - y) log(1 - p)] from log p, stable where p is tiny or near 1."""
    return -torch.where(label > 0.5, log_p, log1mexp(log_p))


def graded_nll(
    logits: Float[Tensor, rows * outputs], label: Float[Tensor, " rows"], task: Task
) -> Float[Tensor, " rows"]:
    """Of a task that is not binary: -log p(level), or half the squared error (a Gaussian of variance 1, its constant
    left out; regression labels are standardised before they come here).
    """
    if task.kind == "regression":
        return 0.5 * (logits.float() - label) ** 2
    log_p = level_log_probabilities(logits, task)
    return -log_p.gather(1, label.long().unsqueeze(1)).squeeze(1)
