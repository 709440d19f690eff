"""Binary cross-entropies of a funnel: each task in its own space, or every joint event over the entire space.

A task that is not binary has its own likelihood, always in the space where it is observed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.likelihoods import bernoulli_nll, graded_nll
from funneltune.schema import Batch, HeadOutput, LossTerms, log_probabilities


class _WeightedTerms:
    def __init__(self, funnel: TaskFunnel, weights: Mapping[str, float] | None = None) -> None:
        self.funnel = funnel
        self.weights = dict(weights or {})
        for name, weight in self.weights.items():
            if name not in funnel.names:
                raise ConfigError(f"objective.weights.{name} names no task; tasks are {', '.join(funnel.names)}.")
            if not weight >= 0:
                raise ConfigError(f"objective.weights.{name}={weight} must be >= 0.")

    def _masked(self, batch: Batch, task: str, loss: Tensor) -> Tensor:
        """The mean over the rows of the optimizer step where a task is observed, as this batch's share of it."""
        return torch.where(batch.observed[task] > 0, loss, 0.0).sum() / batch.count(task)

    def _graded(self, batch: Batch, output: HeadOutput) -> dict[str, Tensor]:
        return {
            task.name: self._masked(
                batch, task.name, graded_nll(output.logits[task.name], batch.labels[task.name], task)
            )
            for task in self.funnel.tasks
            if not task.binary
        }

    def _weigh(self, terms: dict[str, Tensor]) -> LossTerms:
        return LossTerms({name: term * self.weights.get(name, 1.0) for name, term in terms.items()})


class MaskedBCE(_WeightedTerms):
    """Each task on the rows where it is observed: CTR on all impressions, CVR on clicked ones only.

    The usual multi-task loss; its CVR is fitted in the click space and is biased over the entire space (sample
    selection). The mean is over the observed rows of the whole optimizer step.
    """

    def __call__(self, batch: Batch, output: HeadOutput) -> LossTerms:
        """One term per task."""
        predicted = log_probabilities(output, self.funnel)
        terms = {
            task.name: self._masked(
                batch, task.name, bernoulli_nll(predicted.conditional[task.name], batch.labels[task.name])
            )
            for task in self.funnel.binary
        }
        return self._weigh(terms | self._graded(batch, output))


class EntireSpaceBCE(_WeightedTerms):
    """Every joint event over all impressions: p(click), p(click and purchase) (ESMM, Ma et al. 2018, eq. 3)."""

    def __call__(self, batch: Batch, output: HeadOutput) -> LossTerms:
        """One term per task."""
        predicted = log_probabilities(output, self.funnel)
        terms: dict[str, Tensor] = {}
        for task in self.funnel.binary:
            happened = batch.labels[task.name] * batch.observed[task.name]
            terms[task.name] = bernoulli_nll(predicted.joint[task.name], happened).sum() / batch.count()
        return self._weigh(terms | self._graded(batch, output))
