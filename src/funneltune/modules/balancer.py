"""What a balancing needs of an optimizer step, gathered over its micro-batches and ranks, and when it acts."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from funneltune.backbones import Encoder
from funneltune.errors import ConfigError
from funneltune.modules.task_gradients import Parameters, TaskGradients, aggregate_into, likeness
from funneltune.objectives import Balancing

if TYPE_CHECKING:
    from funneltune.modules.base import FunnelModule

logger = logging.getLogger("funneltune")
REST = ""
"""Beside the tasks: what no aggregator touches."""
PARTS = ("head.", "features.", "interaction.", "encoder.")
"""From the top down."""


class Balancer:
    """Hands a `Balancing` what it asks for, once per optimizer step, and measures how alike the tasks' gradients are.

    Each task's term is this batch's share of the step's loss: terms, and their gradients, *add up* over ranks and
    micro-batches, so nothing is divided here.

    Args:
        balancing: Which.
        every: Optimizer steps between two measurements of norms and cosines; 0: none.
    """

    def __init__(self, balancing: Balancing, every: int = 0) -> None:
        self.balancing = balancing
        self.every = every
        self.tasks: Sequence[str] = balancing.tasks
        self.scalars: dict[str, Tensor] = {}
        """What was measured in the last step; empty where nothing was."""
        self._gradients = TaskGradients()
        self._watched = TaskGradients()
        self._losses: Tensor | None = None
        self._terms: Mapping[str, Tensor] = {}
        self._rest: Sequence[Tensor] = ()
        self._norm_names: list[str] | None = None
        self._told = False

    # --- micro-batch by micro-batch ----------------------------------------------------------------------------

    def hold(self, terms: Mapping[str, Tensor], rest: Sequence[Tensor]) -> None:
        """The terms of a micro-batch, as the objective gave them, and the parts of the step's loss that are no task's
        (their shares of the step, too).
        """
        self._terms, self._rest = terms, rest
        if self.balancing.learns:
            device = next(iter(terms.values())).device
            zero = torch.zeros((), device=device)
            losses = torch.stack([terms.get(task, zero).detach() for task in self.tasks])
            self._losses = losses if self._losses is None else self._losses + losses

    def backward(self, module: FunnelModule, plain: Callable[[], None]) -> None:
        """The micro-batch's gradients: those of each task, as far as they are asked for, and `plain`, the loss's own,
        unless an aggregator makes it.
        """
        if self.balancing.gradients == "all":
            rest = [part for part in self._rest if part.requires_grad]
            terms = dict(self._terms) | ({REST: torch.stack(rest).sum()} if rest else {})
            self._gradients.add(terms, trained(module), keep_graph=False)
            self._terms, self._rest = {}, ()
            return
        if self.balancing.gradients == "norms":
            self._gradients.add(self._terms, self._last_shared(module), keep_graph=True)
        if self._measures(module):
            self._watched.add(self._terms, self._tuned(module), keep_graph=True)
        self._terms, self._rest = {}, ()
        plain()

    def no_sync(self, strategy: Strategy) -> None:
        """DDP waits for gradients that are written into `.grad`; those of an aggregator are reduced here."""
        if self.balancing.gradients == "all" and isinstance(strategy.model, DistributedDataParallel):
            strategy.model.require_backward_grad_sync = False

    # --- once per optimizer step -------------------------------------------------------------------------------

    def before_clipping(self, module: FunnelModule) -> None:
        """Reduce over ranks, measure, and let the aggregator write `.grad`."""
        self.scalars = {}
        parameters = trained(module)
        measures = self._measures(module)
        if self.balancing.gradients == "all":
            self._reduce(module, self._gradients, (*self.tasks, REST), parameters)
            if measures:
                self.scalars = self._likeness(module, self._gradients)
            self._tell_if_alone(parameters)
            aggregate_into(
                self._gradients,
                self.tasks,
                parameters,
                lambda matrix: self.balancing.aggregate(matrix, module.steps_taken),
            )
            self._gradients.clear()
        elif measures:
            self._reduce(module, self._watched, self.tasks, self._tuned(module))
            self.scalars = self._likeness(module, self._watched)
            self._watched.clear()

    def after_finite(self, module: FunnelModule, finite: bool) -> None:
        """Let the balancing learn of a step that moves the weights; forget one that does not."""
        losses, self._losses = self._losses, None
        norms = None
        if self.balancing.gradients == "norms":
            parameters = self._last_shared(module)
            self._reduce(module, self._gradients, self.tasks, parameters)
            norms = self._gradients.norms(self.tasks, list(parameters))
            self._gradients.clear()
        if losses is not None:
            losses = self._total(module)(losses)
            if finite:
                self.balancing.after_step(losses, norms)
        if not finite:
            self.scalars = {}

    # --- which parameters --------------------------------------------------------------------------------------

    def _last_shared(self, module: FunnelModule) -> Parameters:
        """The last weights that every task trains: of the highest part of the model that has any; of the backbone,
        those of its highest such layer.
        """
        parameters = trained(module)
        if self._norm_names is None:
            found = TaskGradients()
            found.add(self._terms, parameters, keep_graph=True)
            self._reduce(module, found, self.tasks, parameters)
            shared = found.shared(self.tasks, list(parameters), by=len(self.tasks))
            self._norm_names = next(filter(None, ([n for n in shared if n.startswith(part)] for part in PARTS)), [])
            if not self._norm_names:
                raise ConfigError(
                    f"balancing={self.balancing.word} compares gradients on weights that all tasks train, and there "
                    "are none; use a head that shares (shared_bottom, mmoe, ...) or train the backbone."
                )
            if self._norm_names[0].startswith("encoder."):
                self._norm_names = _highest(module, self._norm_names)
        return {name: parameters[name] for name in self._norm_names}

    def _tuned(self, module: FunnelModule) -> Parameters:
        """The backbone's trained parameters; where there are none, all that are trained."""
        parameters = trained(module)
        return {name: p for name, p in parameters.items() if name.startswith("encoder.")} or parameters

    def _likeness(self, module: FunnelModule, gradients: TaskGradients) -> dict[str, Tensor]:
        names = list(self._tuned(module))
        if names and names[0].startswith("encoder."):
            return likeness(gradients, self.tasks, names)
        return likeness(gradients, self.tasks, gradients.shared(self.tasks, names), word="cosine_shared")

    def _tell_if_alone(self, parameters: Parameters) -> None:
        if not self._told and not self._gradients.shared(self.tasks, list(parameters)):
            logger.warning(
                "balancing=%s changes nothing: no two tasks train the same weights; it aggregates where they do.",
                self.balancing.word,
            )
        self._told = True

    # --- ranks and steps ---------------------------------------------------------------------------------------

    def _measures(self, module: FunnelModule) -> bool:
        return self.every > 0 and len(self.tasks) > 1 and (module.steps_taken + 1) % self.every == 0

    def _total(self, module: FunnelModule) -> Callable[[Tensor], Tensor]:
        strategy = module.trainer.strategy
        return lambda tensor: strategy.reduce(tensor, reduce_op="sum")

    def _reduce(
        self, module: FunnelModule, gradients: TaskGradients, tasks: Sequence[str], parameters: Parameters
    ) -> None:
        if module.trainer.world_size > 1:
            gradients.reduce(tasks, parameters, self._total(module))


def trained(module: FunnelModule) -> Parameters:
    """What is trained of the model, without the balancing's own parameters and what AdaLoRA pruned to nothing."""
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.numel() and not name.startswith("balancing.")
    }


def _highest(module: FunnelModule, names: Sequence[str]) -> list[str]:
    """Of a backbone's parameters, those of the highest layer that is among them; all where layers are not known."""
    encoder = module.encoder
    family = encoder.family if isinstance(encoder, Encoder) else None
    if family is None:
        return list(names)
    layer = {name: re.search(rf"{re.escape(family.layers)}\.(\d+)\.", name) for name in names}
    numbers = {name: int(found.group(1)) for name, found in layer.items() if found}
    highest = max(numbers.values(), default=None)
    return [name for name, number in numbers.items() if number == highest] or list(names)
