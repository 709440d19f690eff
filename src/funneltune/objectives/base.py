"""What objectives share: masked means over the optimizer step, weights, and options that fit any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict, Unpack, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.likelihoods import graded_nll
from funneltune.objectives.rows import RowLoss
from funneltune.schema import (
    Batch,
    Delayed,
    HeadOutput,
    LogProbabilities,
    LossTerms,
    ObjectiveNeeds,
    Space,
    log_probabilities,
)


class Common(TypedDict, total=False):
    """Options of every objective."""

    weights: Mapping[str, float] | None
    """Weight per task, 1 where none is named."""
    rows: RowLoss | None
    """What a row costs; None: cross-entropy."""
    delayed: Delayed
    """What becomes of rows whose label may still come."""


class Objective:
    """Logits and labels to one loss term per task.

    A subclass gives `event_terms`, the losses of the binary tasks; a task that is not binary has its own likelihood,
    always in the space where it is observed.

    Raises:
        ConfigError: if an option names no task or is out of range.
    """

    name: ClassVar[str] = ""
    """The config's word."""
    spaces: ClassVar[frozenset[Space]] = frozenset({"conditional", "marginal"})
    """The logits that it can be given."""
    resamples: ClassVar[bool] = False
    """Whether it is the likelihood of rows that were drawn by their labels (`Batch.rates`) too."""

    def __init__(self, funnel: TaskFunnel, **common: Unpack[Common]) -> None:
        self.funnel = funnel
        self.weights = dict(common.get("weights") or {})
        for name, weight in self.weights.items():
            if name not in funnel.names:
                raise ConfigError(f"objective.weights.{name} names no task; tasks are {', '.join(funnel.names)}.")
            if not weight >= 0:
                raise ConfigError(f"objective.weights.{name}={weight} must be >= 0.")
        self.rows = common.get("rows") or RowLoss()
        self.rows.check(funnel)
        self.delayed: Delayed = common.get("delayed", "drop")
        if self.delayed not in get_args(Delayed):
            raise ConfigError(f"objective.delayed={self.delayed!r} must be one of {', '.join(get_args(Delayed))}.")

    @property
    def needs(self) -> ObjectiveNeeds:
        """What assembly has to provide."""
        return ObjectiveNeeds(delayed=self.delayed)

    def __call__(self, batch: Batch, output: HeadOutput) -> LossTerms:
        """One term per task."""
        found = self.event_terms(batch, output, self.probabilities(batch, output))
        terms = {**found.terms, **self._graded(batch, output)}
        return LossTerms({name: term * self.weights.get(name, 1.0) for name, term in terms.items()}, found.notes)

    def event_terms(self, batch: Batch, output: HeadOutput, predicted: LogProbabilities) -> LossTerms:
        """The terms of the binary tasks, not yet weighted."""
        raise NotImplementedError

    def probabilities(self, batch: Batch, output: HeadOutput) -> LogProbabilities:
        """What the loss is a likelihood of."""
        return log_probabilities(output, self.funnel)

    def over_observed(self, batch: Batch, task: str, loss: Float[Tensor, " rows"]) -> Float[Tensor, ""]:
        """The mean over the rows of the optimizer step where a task is observed, as this batch's share of it.

        Rows outside send no gradient, whatever their loss is.
        """
        return batch.weighed(torch.where(batch.observed[task] > 0, loss, 0.0)).sum() / batch.count(task)

    def over_all(self, batch: Batch, task: str, loss: Float[Tensor, " rows"]) -> Float[Tensor, ""]:
        """The mean over all rows of the step (those whose label is final), likewise."""
        if task in batch.known:
            loss = torch.where(batch.known[task] > 0, loss, 0.0)
        return batch.weighed(loss).sum() / batch.count_known(task)

    def happened(self, batch: Batch, task: str) -> Float[Tensor, " rows"]:
        """1 where a task and all on the way to it happened: the label of its joint event."""
        return batch.labels[task] * batch.observed[task]

    def _graded(self, batch: Batch, output: HeadOutput) -> dict[str, Tensor]:
        return {
            task.name: self.over_observed(
                batch, task.name, graded_nll(output.logits[task.name], batch.labels[task.name], task)
            )
            for task in self.funnel.tasks
            if not task.binary
        }
