"""Tasks' gradients made one by an aggregator of the torchjd library."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.balancing.base import Balancing, Needed

if TYPE_CHECKING:
    from torchjd.aggregation import Aggregator

AGGREGATORS = {
    "pcgrad": "PCGrad",
    "mgda": "MGDA",
    "cagrad": "CAGrad",
    "imtl_g": "IMTLG",
    "upgrad": "UPGrad",
    "aligned_mtl": "AlignedMTL",
    "dualproj": "DualProj",
    "graddrop": "GradDrop",
    "config": "ConFIG",
    "mean": "Mean",
    "random": "Random",
    "sum": "Sum",
}
"""The config's word -> the class of `torchjd.aggregation`. Each takes a matrix of gradients and nothing else, keeps no
state, and gives s times the result for s times the matrix.
"""
RADIUS = 0.4
"""CAGrad's c in its paper's main experiments."""


class Aggregation(Balancing):
    """Aggregates the gradients that the tasks send to the weights they share, once per optimizer step.

    PCGrad (Yu et al. 2020), MGDA (Desideri 2012; Sener & Koltun 2018), CAGrad (Liu et al. 2021), IMTL-G (Liu et al.
    2021), UPGrad (Quinton & Rey 2024), Aligned-MTL (Senushkin et al. 2023), DualProj (Lopez-Paz & Ranzato 2017),
    GradDrop (Chen et al. 2020), ConFIG (Liu et al. 2024), and, as controls, mean, random (Lin et al. 2021) and sum.

    A task without a gradient in a step (no click, say) has no part in it: MGDA's least norm would be 0 otherwise, and
    nothing would learn. The matrix is scaled to norm 1 before, and the result back: CAGrad and UPGrad take a matrix of
    a norm below 0.01 for zero otherwise, and gradients of fine-tuning are that small. What is random (PCGrad's order,
    GradDrop's signs, random's weights) is drawn from the run's seed and the step: the same on all ranks, and on
    resuming.

    Args:
        aggregator: A word of `AGGREGATORS`.
        c: Of cagrad alone: the radius around the mean gradient; None: 0.4.

    Raises:
        ConfigError: if the word is unknown, or `c` is out of range or given to another.
    """

    name = "aggregation"
    gradients: Needed = "all"  # type: ignore[misc]
    seed: Tensor

    def __init__(self, funnel: TaskFunnel, aggregator: str, c: float | None = None) -> None:
        super().__init__(funnel)
        if aggregator not in AGGREGATORS:
            raise ConfigError(f"balancing.aggregator={aggregator!r} must be one of {', '.join(AGGREGATORS)}.")
        if c is not None and aggregator != "cagrad":
            raise ConfigError(f"balancing.c={c} belongs to cagrad, not to {aggregator}; leave it out.")
        if c is not None and not c >= 0:
            raise ConfigError(f"balancing.c={c} must be >= 0; 0: the mean gradient.")
        self.aggregator = aggregator
        self.rule = _rule(aggregator, RADIUS if c is None else c)
        self.register_buffer("seed", torch.randint(2**31, ()))

    @property
    def word(self) -> str:
        """The aggregator's."""
        return self.aggregator

    def aggregate(self, matrix: Float[Tensor, "tasks width"], step: int) -> Float[Tensor, " width"]:
        """One gradient from one per task. Where they are not finite, their sum, for whoever looks for such a thing."""
        norms = matrix.norm(dim=1)
        if not torch.isfinite(norms).all():
            return matrix.sum(dim=0)
        if not (norms > 0).all():
            matrix = matrix[norms > 0]
        if not len(matrix):
            return matrix.new_zeros(matrix.shape[1])
        scale = norms.norm()
        with torch.random.fork_rng([matrix.device] if matrix.is_cuda else []), torch.no_grad():
            torch.manual_seed(int(self.seed) + step)
            found: Tensor = self.rule(matrix / scale) * scale
        return found


def _rule(aggregator: str, c: float) -> Aggregator:
    # Imported where it is used: the solvers behind it take a second.
    from torchjd import aggregation

    made: Aggregator = getattr(aggregation, AGGREGATORS[aggregator])(**({"c": c} if aggregator == "cagrad" else {}))
    return made
