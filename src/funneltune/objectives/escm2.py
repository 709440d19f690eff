"""ESCM2 (Wang et al. 2022): an entire-space model whose CVR is regularised by its counterfactual risk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.counterfactual import CounterfactualObjective
from funneltune.objectives.estimators import dr, inverse_weights, ips
from funneltune.schema import Batch, HeadOutput, log_probabilities

IMPUTATIONS = ("error", "label")


class ESCM2IPS(CounterfactualObjective):
    """The risk of purchases by inverse propensity scoring: mean over all rows of o e / p(o)."""

    name = "escm2_ips"

    def risk(
        self,
        batch: Batch,
        output: HeadOutput,
        task: str,
        errors: Float[Tensor, " rows"],
        propensity: Float[Tensor, " rows"],
    ) -> Mapping[str, Float[Tensor, ""]]:
        """The weighted errors of the observed rows."""
        weights = inverse_weights(batch.observed[task], propensity, self.clip)
        rows = batch.count_known(task)
        return {"ips": ips(errors, weights, self.self_normalised, self.standing(batch, task), rows)}


class ESCM2DR(CounterfactualObjective):
    """The risk of purchases by the doubly robust estimator: mean over all rows of i + o (e - i) / p(o), with e the
    error and i the imputed one; and an imputation tower on all rows, trained by the mean of o (e - i)^2 / p(o).

    Args:
        funnel: The tasks.
        imputation: `error`: the tower gives i itself, through a softplus (the paper). `label`: it gives the
            probability q of a purchase, and i is the expected error under q (Wang et al. 2019), so that i moves with
            the prediction.
        joint: Whether the gradient is that of the sum of both, as the paper writes it: it makes errors that are hard to
            impute count more in the CVR tower, and sends noise of mean 0 into the imputation tower. False: each tower
            learns from its own term, the other held fixed (Wang et al. 2019).
        **common: As of `CounterfactualObjective`.

    With `error` and not `joint`, i is a constant to the CVR tower, and its gradient is exactly that of ESCM2-IPS: what
    is less noisy is the risk, not its gradient. `label` changes the gradient too.
    """

    name = "escm2_dr"

    def __init__(self, funnel: TaskFunnel, imputation: str = "error", joint: bool = True, **common: Any) -> None:
        super().__init__(funnel, **common)
        if imputation not in IMPUTATIONS:
            raise ConfigError(f"objective.imputation={imputation!r} must be one of {', '.join(IMPUTATIONS)}.")
        self.imputation, self.joint = imputation, joint

    def own_towers(self) -> tuple[str, ...]:
        """An imputation tower for each task with edges."""
        return tuple(f"imputation/{task}" for task in self.propensity.tasks)

    def risk(
        self,
        batch: Batch,
        output: HeadOutput,
        task: str,
        errors: Float[Tensor, " rows"],
        propensity: Float[Tensor, " rows"],
    ) -> Mapping[str, Float[Tensor, ""]]:
        """The doubly robust risk, and what trains the imputation."""
        weights = inverse_weights(batch.observed[task], propensity, self.clip)
        how = (self.self_normalised, self.standing(batch, task), batch.count_known(task))
        if self.joint:
            imputed = self._imputed(output, task, held=None)
            return {"dr": dr(errors, imputed, weights, *how), "imputation": ips((errors - imputed) ** 2, weights, *how)}
        imputed = self._imputed(output, task, held="tower")
        learning = self._imputed(output, task, held="prediction")
        return {
            "dr": dr(errors, imputed, weights, *how),
            "imputation": ips((errors.detach() - learning) ** 2, weights, *how),
        }

    def _imputed(
        self, output: HeadOutput, task: str, held: Literal["tower", "prediction"] | None
    ) -> Float[Tensor, " rows"]:
        """The imputed error, no gradient reaching what is held."""
        tower = output.towers[f"imputation/{task}"].float()
        tower = tower.detach() if held == "tower" else tower
        if self.imputation == "error":
            return F.softplus(tower)
        log_p = log_probabilities(output, self.funnel).conditional[task]
        return self.rows(log_p.detach() if held == "prediction" else log_p, torch.sigmoid(tower), task)
