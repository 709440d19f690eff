"""Whether an impression was looked at: a click needs that its position was seen, and tells of the item only then.

p(click) = p(seen at the position) x p(click | seen) (examination hypothesis, Richardson et al. 2007). What a head
predicts is then p(click | seen), for every task without edges.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.events import joined
from funneltune.schema import Batch, HeadOutput, LogProbabilities

KINDS = ("none", "tower", "log")


class Examination:
    """How a loss allows for positions that are not looked at.

    Args:
        funnel: The tasks.
        kind: `none`: not at all. `tower`: log p(seen) is learnt per position and added in the loss (PAL, Guo et al.
            2019). Position 0 is taken as always seen; the paper fixes nothing, and then only products are
            identified. `log`: the log's `propensity` column is p(seen), and a click counts 1 / p(seen) (Joachims et al.
            2017; pointwise as in Saito et al. 2020).
        floor: Least p(seen) that `log` divides by; keeps weights at 1 / floor at most, for some bias.

    Raises:
        ConfigError: if an argument is out of range, or `log` meets a task that is conditional on no click.
    """

    FLOOR: ClassVar[float] = 0.05

    def __init__(self, funnel: TaskFunnel, kind: str = "none", floor: float = FLOOR) -> None:
        if kind not in KINDS:
            raise ConfigError(f"objective.examination={kind!r} must be one of {', '.join(KINDS)}.")
        if not 0 < floor <= 1:
            raise ConfigError(f"objective.examination_floor={floor} must lie in (0, 1].")
        self.funnel, self.kind, self.floor = funnel, kind, floor
        self.roots = tuple(task.name for task in funnel.binary if not task.given)
        for task in funnel.binary if kind == "log" else ():
            for edge in funnel.way_to(task.name):
                if edge.name in self.roots and not edge.holds:
                    raise ConfigError(
                        f"objective.examination=log cannot weigh tasks.{task.name}, which is given {edge}: a row "
                        "without the event says nothing of p(seen); use examination=tower."
                    )

    @property
    def towers(self) -> tuple[str, ...]:
        """What `tower` asks for."""
        return tuple(f"examination/{name}" for name in self.roots) if self.kind == "tower" else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read of the log."""
        return {"tower": ("position",), "log": ("propensity",)}.get(self.kind, ())

    def applied(self, batch: Batch, output: HeadOutput, predicted: LogProbabilities) -> LogProbabilities:
        """What the loss is a likelihood of: with a tower, the events in the log; else `predicted` itself."""
        if self.kind != "tower":
            return predicted
        seen = {name: F.logsigmoid(output.towers[f"examination/{name}"].float()) for name in self.roots}
        return self._with(predicted, seen)

    def logged(self, batch: Batch, predicted: LogProbabilities) -> LogProbabilities:
        """Of the events in the log, given what `applied` returned: what a click's propensity is made of."""
        if self.kind != "log":
            return predicted
        seen = batch.columns["propensity"].float().clamp(1e-6, 1.0).log()
        return self._with(predicted, dict.fromkeys(self.roots, seen))

    def labelled(self, batch: Batch, label: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """A label of a task without edges, or of a joint event: under `log` an unbiased estimate of the label had all
        positions been seen, label / max(p(seen), floor).
        """
        return label / batch.columns["propensity"].clamp(min=self.floor) if self.kind == "log" else label

    def notes(self, batch: Batch, output: HeadOutput) -> dict[str, Float[Tensor, ""]]:
        """The mean of p(seen), and the share below the floor."""
        if self.kind == "tower":
            return {
                f"examination_mean_{name}": torch.sigmoid(output.towers[f"examination/{name}"]).mean()
                for name in self.roots
            }
        if self.kind == "log":
            seen = batch.columns["propensity"]
            return {"examination_mean": seen.mean(), "examination_clipped": (seen < self.floor).float().mean()}
        return {}

    def _with(self, predicted: LogProbabilities, seen: dict[str, Tensor]) -> LogProbabilities:
        conditional = dict(predicted.conditional)
        for name, log_seen in seen.items():
            conditional[name] = conditional[name] + log_seen
        return joined(conditional, self.funnel)
