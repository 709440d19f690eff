"""What ESCM2 and DCMT share: a click loss, later tasks' risk over the entire space, and the joint events' loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.base import Common, Objective
from funneltune.objectives.estimators import inverse_weights, weight_notes
from funneltune.objectives.propensity import Propensity
from funneltune.schema import Batch, HeadOutput, LogProbabilities, LossTerms, Space


class CounterfactualObjective(Objective):
    """loss(click) + risk_weight * risk(purchase | click, had all been clicked) + entire_weight * loss(click, purchase).

    Tasks without edges have the first term, the others the last two. All are means over the rows of the optimizer step.

    Args:
        funnel: The tasks.
        propensity: `estimated`, `log` or `oracle` (`Propensity`).
        propensity_column: For `log`.
        clip: Least propensity that is divided by: weights are 1 / clip at most. 0 divides by what is there.
        self_normalised: Divide by the sum of the weights in the batch instead of by its rows.
        risk_weight: Of the counterfactual risk.
        entire_weight: Of the joint event's loss over the entire space.

    Raises:
        ConfigError: if an argument is out of range, or no task has an edge.
    """

    spaces: ClassVar[frozenset[Space]] = frozenset({"conditional"})

    def __init__(
        self,
        funnel: TaskFunnel,
        propensity: str = "estimated",
        propensity_column: str | None = None,
        clip: float = 0.01,
        self_normalised: bool = False,
        risk_weight: float = 1.0,
        entire_weight: float = 1.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(funnel, **common)
        if not 0 <= clip < 1:
            raise ConfigError(f"objective.clip={clip} must lie in [0, 1).")
        for field, value in (("risk_weight", risk_weight), ("entire_weight", entire_weight)):
            if not value >= 0:
                raise ConfigError(f"objective.{field}={value} must be >= 0.")
        self.propensity = Propensity(funnel, propensity, propensity_column)
        if not self.propensity.tasks:
            raise ConfigError(
                f"objective={self.name} is about tasks that are observed in a part of the space, and none of "
                f"{', '.join(funnel.names)} has an edge; use objective=masked_bce."
            )
        self.clip, self.self_normalised = clip, self_normalised
        self.risk_weight, self.entire_weight = risk_weight, entire_weight

    def own_columns(self) -> tuple[str, ...]:
        """What the propensity reads."""
        return self.propensity.columns

    def event_terms(self, batch: Batch, output: HeadOutput, predicted: LogProbabilities) -> LossTerms:
        """One term per task; the notes say what the weights were like and what the parts came to."""
        terms: dict[str, Tensor] = {}
        notes: dict[str, Tensor] = {}
        logged = self.examination.logged(batch, predicted)
        for name in (task.name for task in self.funnel.binary):
            happened = self.happened(batch, name)
            entire = self.over_all(batch, name, self.rows(predicted.joint[name], happened, name))
            if name not in self.propensity.tasks:
                terms[name] = entire
                continue
            propensity = self.propensity(batch, name, logged)
            found = self.risk(batch, output, name, self._errors(batch, predicted, name), propensity)
            risk = sum(found.values(), start=entire * 0.0)
            terms[name] = self.risk_weight * risk + self.entire_weight * entire
            parts = {f"risk_{kind}": part for kind, part in found.items()} | {"entire": entire}
            weights = inverse_weights(batch.observed[name], propensity, self.clip)
            parts |= weight_notes(weights, batch.observed[name], propensity, self.clip)
            notes |= {f"{kind}_{name}": value.detach() for kind, value in parts.items()}
        return LossTerms(terms, notes)

    def risk(
        self,
        batch: Batch,
        output: HeadOutput,
        task: str,
        errors: Float[Tensor, " rows"],
        propensity: Float[Tensor, " rows"],
    ) -> Mapping[str, Float[Tensor, ""]]:
        """The parts of a task's risk over the entire space, which are summed."""
        raise NotImplementedError

    def _errors(self, batch: Batch, predicted: LogProbabilities, task: str) -> Float[Tensor, " rows"]:
        return self.rows(predicted.conditional[task], self.label(batch, task), task)
