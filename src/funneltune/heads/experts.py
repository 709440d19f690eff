"""What mixtures of experts are made of: networks side by side, gates, and the sum that a gate weighs.

Legend: R rows, E experts, W wide in, D wide out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.errors import ConfigError
from funneltune.heads.towers import check_sizes, mlp


class Experts(nn.Module):
    """Networks of one shape side by side: each Linear, ReLU and dropout per width.

    The first layers of all are one matrix product, likewise the second ones; each starts as nn.Linear does.

    Args:
        width: Of what they read.
        count: How many.
        hidden: Widths of each.
        dropout: Behind each layer.
        field: The config's word for `count`.

    Raises:
        ConfigError: if there is no expert, an expert has no layer, or a size is out of range.
    """

    def __init__(
        self, width: int, count: int, hidden: Sequence[int], dropout: float = 0.0, field: str = "experts"
    ) -> None:
        super().__init__()
        if count < 1:
            raise ConfigError(f"head.{field}={count} must be >= 1.")
        if not hidden:
            raise ConfigError("head.expert_hidden=[] leaves an expert no layer; name one width at least.")
        check_sizes(hidden, dropout, "expert_hidden")
        self.count, self.width = count, hidden[-1]
        self.first = nn.Linear(width, count * hidden[0])
        self.deeper = nn.ModuleList([_SideBySide(count, *widths) for widths in pairwise(hidden)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Float[Tensor, "rows width"]) -> Float[Tensor, "rows experts out"]:
        """What each expert makes of each row."""
        found_RED: Tensor = self.first(vectors).unflatten(1, (self.count, -1))
        found_RED = self.dropout(F.relu(found_RED))
        for layer in self.deeper:
            found_RED = self.dropout(F.relu(layer(found_RED)))
        return found_RED


class _SideBySide(nn.Module):
    """One linear layer per expert."""

    def __init__(self, count: int, width: int, out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(count, width, out).uniform_(-bound, bound))
        # One axis, so that it takes no weight decay, as other biases do.
        self.bias = nn.Parameter(torch.empty(count * out).uniform_(-bound, bound))

    def forward(self, found: Float[Tensor, "rows experts width"]) -> Float[Tensor, "rows experts out"]:
        count, _, out = self.weight.shape
        return torch.einsum("rew,ewd->red", found, self.weight) + self.bias.view(count, out)


def gate(width: int, experts: int, hidden: Sequence[int] = (), dropout: float = 0.0) -> nn.Sequential:
    """Weights of experts, which sum to 1: softmax(W x), Ma et al. 2018, eq. 8; with `hidden`, of an MLP of x."""
    network, top = mlp(width, hidden, dropout, "gate_hidden")
    return nn.Sequential(network, nn.Linear(top, experts, bias=False), nn.Softmax(dim=-1))


def mixed(
    weights: Float[Tensor, "rows experts"], experts: Float[Tensor, "rows experts out"]
) -> Float[Tensor, "rows out"]:
    """The experts' sum, weighed by a gate (Ma et al. 2018, eq. 7)."""
    return torch.einsum("re,red->rd", weights, experts)
