"""Binary cross-entropies of a funnel: each task in its own space, every joint event over the entire space, or, as a
biased control, each task over all rows.
"""

from __future__ import annotations

from typing import ClassVar

from funneltune.objectives.base import Objective
from funneltune.schema import Batch, HeadOutput, LogProbabilities, LossTerms


class MaskedBCE(Objective):
    """Each task on the rows where it is observed: CTR on all impressions, CVR on clicked ones only.

    The usual multi-task loss; its CVR is fitted in the click space and is biased over the entire space (sample
    selection). The mean is over the observed rows of the whole optimizer step.
    """

    name = "masked_bce"
    resamples = True
    models_delays: ClassVar[bool] = True

    def event_terms(self, batch: Batch, output: HeadOutput, predicted: LogProbabilities) -> LossTerms:
        """One term per task."""
        return LossTerms(
            {
                task.name: self.over_observed(
                    batch,
                    task.name,
                    self.costs(
                        batch, output, task.name, predicted.conditional[task.name], self.label(batch, task.name)
                    ),
                )
                for task in self.funnel.binary
            }
        )


class EntireSpaceBCE(Objective):
    """Every joint event over all impressions: p(click), p(click and purchase) (ESMM, Ma et al. 2018, eq. 3)."""

    name = "entire_space_bce"
    resamples = True
    models_delays: ClassVar[bool] = True

    def event_terms(self, batch: Batch, output: HeadOutput, predicted: LogProbabilities) -> LossTerms:
        """One term per task."""
        return LossTerms(
            {
                task.name: self.over_all(
                    batch,
                    task.name,
                    self.costs(batch, output, task.name, predicted.joint[task.name], self.happened(batch, task.name)),
                )
                for task in self.funnel.binary
            }
        )


class NaiveBCE(Objective):
    """Each task's own probability over all rows, an unclicked row being no purchase: a control that is biased.

    What it calls p(purchase | click) is p(click and purchase): it is too low by the factor p(click).
    """

    name = "naive_bce"

    def event_terms(self, batch: Batch, output: HeadOutput, predicted: LogProbabilities) -> LossTerms:
        """One term per task."""
        return LossTerms(
            {
                task.name: self.over_all(
                    batch,
                    task.name,
                    self.rows(predicted.conditional[task.name], self.happened(batch, task.name), task.name),
                )
                for task in self.funnel.binary
            }
        )
