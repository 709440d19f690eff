"""Losses weighted by how slowly they fall."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.balancing.base import Balancing, above_zero


class DWA(Balancing):
    """Dynamic weight average (Liu, Johns & Davison 2019, eq. 7), of K tasks in period t (an epoch):

        weight_i(t) = K exp(r_i / temperature) / sum over j of exp(r_j / temperature),  r_i = L_i(t-1) / L_i(t-2)

    with L the mean loss of a period; 1 in the first two.

    Args:
        temperature: Large: all weights near 1.
        every: Optimizer steps of a period; 0: an epoch, as in the paper (then nothing changes before the third).

    Raises:
        ConfigError: if an argument is out of range.
    """

    name = "dwa"
    learns = True
    total: Tensor
    steps: Tensor
    last: Tensor
    before: Tensor
    periods: Tensor
    epoch: Tensor

    def __init__(self, funnel: TaskFunnel, temperature: float = 2.0, every: int = 0) -> None:
        super().__init__(funnel)
        above_zero(self.name, temperature=temperature)
        if every < 0:
            raise ConfigError(f"balancing.every={every} must be >= 0, of optimizer steps; 0: an epoch.")
        self.temperature, self.every = temperature, every
        for name in ("total", "last", "before"):
            self.register_buffer(name, torch.zeros(len(self.tasks)))
        for name in ("steps", "periods", "epoch"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    def weights(self) -> Float[Tensor, " tasks"]:
        """They sum to the number of tasks."""
        ratio = torch.where((self.periods >= 2) & (self.before > 0), self.last / self.before, 1.0)
        return len(self.tasks) * torch.softmax(ratio / self.temperature, dim=0)

    def begin_epoch(self, epoch: int) -> None:
        """Close the epoch before, unless this is one that is gone on with."""
        if not self.every and epoch > int(self.epoch):
            self._close()
        self.epoch.fill_(epoch)

    def after_step(self, losses: Float[Tensor, " tasks"], norms: Float[Tensor, " tasks"] | None) -> None:
        """Add to the period's mean."""
        self.total += losses.to(self.total)
        self.steps += 1
        if self.every and int(self.steps) == self.every:
            self._close()

    def _close(self) -> None:
        if int(self.steps) == 0:
            return
        self.before.copy_(self.last)
        self.last.copy_(self.total / self.steps)
        self.total.zero_()
        self.steps.zero_()
        self.periods += 1
