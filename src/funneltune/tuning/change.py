"""What a tuning method does to its parameters while training, beside moving them."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Replaced:
    """A parameter in the place of another: the old one's values at `kept` of dimension `dim`, and nothing else."""

    old: nn.Parameter
    new: nn.Parameter
    dim: int
    kept: Int[Tensor, " kept"]


@dataclass(frozen=True)
class ParameterChange:
    """All parameters that a step of a tuning method replaced. One that is empty now is not trained any more."""

    replaced: tuple[Replaced, ...]
