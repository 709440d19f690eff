"""Losses weighted so that tasks train at similar rates."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.balancing.base import Balancing, Needed, above_zero


class GradNorm(Balancing):
    """GradNorm (Chen et al. 2018, Algorithm 1), on norms G_i = weight_i |gradient of L_i| at the last shared weights:

        weight_i <- weight_i - learning_rate d/dweight_i sum over j of |G_j - mean(G) r_j^alpha|

    where r_j = [L_j / L_j(0)] / mean over tasks of [L / L(0)], the targets mean(G) r^alpha are held constant, and the
    weights are then rescaled to sum to the number of tasks. The derivative is sign(G_i - target_i) |gradient of L_i|.

    A task without a loss or gradient in a step (no click, say) has no part in that step's update; L(0) is its first
    loss above 0. Weights stop at 0, from where they rise again.

    Args:
        alpha: How strongly tasks that fall behind are pulled up.
        learning_rate: Of the weights, by plain gradient descent: its effect grows with the gradients' norms.

    Raises:
        ConfigError: if an argument is out of range.
    """

    name = "gradnorm"
    gradients: Needed = "norms"  # type: ignore[misc]
    learns = True
    weight: Tensor
    initial: Tensor

    def __init__(self, funnel: TaskFunnel, alpha: float = 1.5, learning_rate: float = 0.025) -> None:
        super().__init__(funnel)
        above_zero(self.name, learning_rate=learning_rate)
        if not alpha >= 0:
            raise ConfigError(f"balancing.alpha={alpha} must be >= 0 with balancing=gradnorm; 0: equal norms.")
        self.alpha, self.learning_rate = alpha, learning_rate
        self.register_buffer("weight", torch.ones(len(self.tasks)))
        self.register_buffer("initial", torch.zeros(len(self.tasks)))

    def weights(self) -> Float[Tensor, " tasks"]:
        """They sum to the number of tasks."""
        return self.weight.clone()  # a step changes them in place

    def after_step(self, losses: Float[Tensor, " tasks"], norms: Float[Tensor, " tasks"] | None) -> None:
        """One update of the weights."""
        assert norms is not None
        losses, norms = losses.to(self.weight), norms.to(self.weight)
        seen = (losses > 0) & (norms > 0)
        self.initial.copy_(torch.where(seen & (self.initial == 0), losses, self.initial))
        if int(seen.sum()) < 2:
            return
        progress = losses[seen] / self.initial[seen]
        size = self.weight[seen] * norms[seen]
        target = size.mean() * (progress / progress.mean()) ** self.alpha
        moved = (self.weight[seen] - self.learning_rate * torch.sign(size - target) * norms[seen]).clamp(min=0.0)
        # Those that were seen keep their sum, which is the number of tasks where all were.
        self.weight[seen] = moved * self.weight[seen].sum() / moved.sum().clamp(min=torch.finfo(moved.dtype).tiny)
