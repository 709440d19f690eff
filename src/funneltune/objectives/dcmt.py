"""DCMT (Zhu et al. 2023): a factual and a counterfactual CVR, each weighted back to the entire space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.counterfactual import CounterfactualObjective
from funneltune.objectives.estimators import inverse_weights, ips
from funneltune.schema import Batch, HeadOutput


class DCMT(CounterfactualObjective):
    """Mean over all rows of o e(y, r) / p(o) + (1 - o) e(1 - y, r*) / (1 - p(o)) + constraint |1 - (r + r*)|.

    r is the head's p(purchase | click), r* a tower's own, the probability of *not* buying that rows outside the click
    space are taken to show: there y is 0, so r* is taught 1, and the constraint draws r to 1 - r*.

    Args:
        funnel: The tasks.
        constraint: Weight of the soft constraint.
        **common: As of `CounterfactualObjective`.

    An unclicked row is thus taken, through the constraint, for one that would not have converted: the larger its
    weight, the nearer to the naive control.
    """

    name = "dcmt"

    def __init__(self, funnel: TaskFunnel, constraint: float = 0.001, **common: Any) -> None:
        super().__init__(funnel, **common)
        if not constraint >= 0:
            raise ConfigError(f"objective.constraint={constraint} must be >= 0.")
        self.constraint = constraint

    def own_towers(self) -> tuple[str, ...]:
        """A counterfactual tower for each task with edges."""
        return tuple(f"counterfactual/{task}" for task in self.propensity.tasks)

    def risk(
        self,
        batch: Batch,
        output: HeadOutput,
        task: str,
        errors: Float[Tensor, " rows"],
        propensity: Float[Tensor, " rows"],
    ) -> Mapping[str, Float[Tensor, ""]]:
        """Factual, counterfactual, and what ties them."""
        observed, other = batch.observed[task], output.towers[f"counterfactual/{task}"].float()
        how = (self.self_normalised, self.standing(batch, task), batch.count_known(task))
        unlike = self.rows(F.logsigmoid(other), torch.ones_like(other), task)
        apart = (1.0 - torch.sigmoid(output.logits[task].float()) - torch.sigmoid(other)).abs()
        return {
            "factual": ips(errors, inverse_weights(observed, propensity, self.clip), *how),
            "counterfactual": ips(unlike, inverse_weights(1.0 - observed, 1.0 - propensity, self.clip), *how),
            "constraint": self.constraint * self.over_all(batch, task, apart),
        }
