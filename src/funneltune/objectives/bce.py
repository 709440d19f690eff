"""Binary cross-entropies of a funnel: each task in its own space, or every joint event over the entire space."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.schema import Batch, HeadOutput, LossTerms, log1mexp, log_probabilities


def bernoulli_nll(log_p: Float[Tensor, " rows"], label: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """-[y log p + (1 - y) log(1 - p)] from log p, stable where p is tiny or near 1."""
    return -torch.where(label > 0.5, log_p, log1mexp(log_p))


class _WeightedTerms:
    def __init__(self, funnel: TaskFunnel, weights: Mapping[str, float] | None = None) -> None:
        self.funnel = funnel
        self.weights = dict(weights or {})
        for name, weight in self.weights.items():
            if name not in funnel.names:
                raise ConfigError(f"objective.weights.{name} names no task; tasks are {', '.join(funnel.names)}.")
            if not weight >= 0:
                raise ConfigError(f"objective.weights.{name}={weight} must be >= 0.")

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
        terms: dict[str, Tensor] = {}
        for name in self.funnel.names:
            loss = bernoulli_nll(predicted.conditional[name], batch.labels[name])
            terms[name] = torch.where(batch.observed[name] > 0, loss, 0.0).sum() / batch.count(name)
        return self._weigh(terms)


class EntireSpaceBCE(_WeightedTerms):
    """Every joint event over all impressions: p(click), p(click and purchase) (ESMM, Ma et al. 2018, eq. 3)."""

    def __call__(self, batch: Batch, output: HeadOutput) -> LossTerms:
        """One term per task."""
        predicted = log_probabilities(output, self.funnel)
        terms: dict[str, Tensor] = {}
        for name in self.funnel.names:
            happened = batch.labels[name] * batch.observed[name]
            terms[name] = bernoulli_nll(predicted.joint[name], happened).sum() / batch.count()
        return self._weigh(terms)
