"""What all balancings share, and the one that leaves the losses as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel

Needed = Literal["none", "norms", "all"]
"""Which gradients of single tasks are asked for: none, their norms on the last shared weights, or all of them."""


class Balancing(nn.Module):
    """Weights of the tasks' loss terms, learnt or computed while training; what it keeps is in buffers and parameters.

    `objective.weights` multiply the terms before they come here.
    """

    name: ClassVar[str] = ""
    """The config's word."""
    gradients: ClassVar[Needed] = "none"
    learns: ClassVar[bool] = False
    """Whether `after_step` wants to be told each step's losses."""

    def __init__(self, funnel: TaskFunnel) -> None:
        super().__init__()
        self.tasks = funnel.names

    @property
    def word(self) -> str:
        """What a message calls it."""
        return self.name

    def weights(self) -> Float[Tensor, " tasks"] | None:
        """What each task's term counts, in the funnel's order; None where all count 1."""
        return None

    def forward(self, terms: Mapping[str, Float[Tensor, ""]]) -> Mapping[str, Float[Tensor, ""]]:
        """The terms, weighted."""
        weights = self.weights()
        if weights is None:
            return terms
        return {task: term * weights[self.tasks.index(task)].to(term) for task, term in terms.items()}

    def regulariser(self) -> Float[Tensor, ""] | None:
        """A term of the balancing's own, once per optimizer step."""
        return None

    def begin_epoch(self, epoch: int) -> None:
        """Called when an epoch begins, and again where a run goes on in it."""

    def after_step(self, losses: Float[Tensor, " tasks"], norms: Float[Tensor, " tasks"] | None) -> None:
        """Told each task's loss over the whole optimizer step, and its gradient's norm (`gradients = "norms"`), neither
        of them balanced.
        """

    def aggregate(self, matrix: Float[Tensor, "tasks width"], step: int) -> Float[Tensor, " width"]:
        """One gradient from the tasks' (`gradients = "all"`)."""
        return matrix.sum(dim=0)


class Fixed(Balancing):
    """The sum of the terms, each times its fixed `objective.weights`."""

    name = "fixed"


def above_zero(balancing: str, **values: float) -> None:
    """Refuse an argument that is not above 0.

    Raises:
        ConfigError: naming it.
    """
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"balancing.{name}={value} must be above 0 with balancing={balancing}.")
