"""What the shopper clicked before, weighed by what is on offer now."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class TargetAttention(nn.Module):
    """Deep Interest Network's activation unit (Zhou et al. 2018, eq. 3): the candidate decides each past item's weight.

    The weights are not normalised, as in the paper: a long history of like items says more than a short one. They come
    from [h, c, h - c, h * c] through one hidden layer; the sum over events is scaled by their largest number, so that
    its size does not grow with it.

    Args:
        width: Of items.
        hidden: Of the unit.
    """

    def __init__(self, width: int, hidden: int = 36) -> None:
        super().__init__()
        self.unit = nn.Sequential(nn.Linear(4 * width, hidden), nn.PReLU(), nn.Linear(hidden, 1))
        self.width = width

    def forward(
        self,
        candidate: Float[Tensor, "rows width"],
        past: Float[Tensor, "rows events width"],
        there: Bool[Tensor, "rows events"],
    ) -> Float[Tensor, "rows width"]:
        """The weighed sum of each row's past; zeros where there is none."""
        now = candidate.unsqueeze(1).expand_as(past)
        weight = self.unit(torch.cat([past, now, past - now, past * now], dim=-1)).squeeze(-1)
        weight = weight.masked_fill(~there, 0.0) / there.shape[1]
        return torch.einsum("re,rew->rw", weight, past)
