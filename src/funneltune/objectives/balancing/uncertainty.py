"""Losses weighted by the noise that the model sees in each task."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.objectives.balancing.base import Balancing, above_zero


class Uncertainty(Balancing):
    """Homoscedastic uncertainty (Kendall, Gal & Cipolla 2018, eq. 7 and 10), with s = log of the variance learnt:

        loss = sum over tasks of exp(-s_i) L_i + s_i / 2

    L is cross-entropy (eq. 10), or half the squared error of a regression, whose 1 / (2 variance) that gives (eq. 7).
    At the start s = 0: all tasks count 1.

    Args:
        learning_rate: Of the s; None: the optimizer's.

    Raises:
        ConfigError: if the rate is not above 0.
    """

    name = "uncertainty"

    def __init__(self, funnel: TaskFunnel, learning_rate: float | None = None) -> None:
        super().__init__(funnel)
        if learning_rate is not None:
            above_zero(self.name, learning_rate=learning_rate)
        self.learning_rate = learning_rate
        self.log_variance = nn.Parameter(torch.zeros(len(self.tasks)))

    def weights(self) -> Float[Tensor, " tasks"]:
        """1 / variance."""
        return torch.exp(-self.log_variance)

    def regulariser(self) -> Float[Tensor, ""]:
        """The sum of the logarithms of the standard deviations: without it all variances would grow."""
        return 0.5 * self.log_variance.sum()
