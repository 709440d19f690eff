"""Integrated gradients of a rate: what each input adds to it on the way from its absence.

    attribution_i = (x_i - b_i) integral_0^1 d f(b + a (x - b)) / d x_i  da      Sundararajan et al. 2017, eq. 1

Their sum is f(x) - f(b) (completeness, proposition 1), up to the error of the sum that stands for the integral, which
is therefore measured each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from funneltune.decisions.explanations.inlets import Inlets
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.schema import HeadOutput, log1mexp, log_probabilities

Scale = Literal["logit", "log-probability"]
FIRST_STEPS, MOST_STEPS = 16, 512
AT_ONCE = 32
"""Points of the path per forward: what a CPU's caches hold of a small backbone."""
RELATIVE, ABSOLUTE = 0.01, 0.002
"""Completeness holds where the gap is at most a hundredth of what is explained, or moves no probability by 0.0005."""


@dataclass(frozen=True)
class Attributed:
    """Attributions of one row's inputs, and how well they add up."""

    parts: tuple[NDArray[np.float64], ...]
    """Of each inlet: (parts,), in the unit of the scale."""
    value: float
    """f of the row."""
    baseline: float
    """f where all inputs are absent."""
    steps: int

    @property
    def gap(self) -> float:
        """The sum of all attributions, less f(x) - f(b)."""
        return float(sum(part.sum() for part in self.parts)) - (self.value - self.baseline)

    @property
    def tolerance(self) -> float:
        """The largest gap that passes for the integral's rounding."""
        return max(RELATIVE * abs(self.value - self.baseline), ABSOLUTE)

    @property
    def complete(self) -> bool:
        """Whether the attributions add up to what they explain."""
        return abs(self.gap) <= self.tolerance


def rates_of(funnel: TaskFunnel) -> dict[str, tuple[str, Scale]]:
    """Rate -> its task, and the scale on which it is explained: conditional rates by their logit, joint ones by the
    logarithm of the probability, which adds up along the funnel.
    """
    found: dict[str, tuple[str, Scale]] = {}
    for task in funnel.binary:
        found[task.rate] = (task.name, "logit")
        if task.given:
            found[task.joint_rate] = (task.name, "log-probability")
    return found


def on_its_scale(output: HeadOutput, funnel: TaskFunnel, rate: str) -> Float[Tensor, " rows"]:
    """The logit of a conditional rate, the log-probability of a joint one."""
    task, scale = rates_of(funnel)[rate]
    found = log_probabilities(output, funnel)
    if scale == "log-probability":
        return found.joint[task]
    if output.spaces[task] == "conditional" or not funnel[task].given:
        return output.logits[task].float()
    return found.conditional[task] - log1mexp(found.conditional[task])


def integrate(inlets: Inlets, funnel: TaskFunnel, rate: str, steps: int | None = None) -> Attributed:
    """Attributions of one row's inputs to a rate, by Gauss-Legendre sums over the straight path.

    Args:
        inlets: Of the row.
        funnel: The run's tasks.
        rate: What is explained.
        steps: Points of the path; None: 16, doubled until the attributions add up, at most 512.

    Raises:
        ConfigError: if captum is not installed.
    """
    captum = _captum()
    values = tuple(inlet.value for inlet in inlets.inlets)
    baselines = tuple(inlet.baseline for inlet in inlets.inlets)

    def f(*given: Tensor) -> Tensor:
        # Features that only another task reads have no gradient; times zero they have one, of zero.
        unread = sum(0.0 * one.flatten(1).sum(dim=1) for one in given)
        return on_its_scale(inlets.forward(given), funnel, rate) + unread

    # A server may be in inference mode, whose tensors never see a gradient.
    with torch.inference_mode(False):
        values, baselines = tuple(v.clone() for v in values), tuple(b.clone() for b in baselines)
        with torch.no_grad():
            ends = f(*(torch.cat([b, v]) for v, b in zip(values, baselines, strict=True))).double()
        with torch.enable_grad():
            taken = steps or FIRST_STEPS
            while True:
                found = captum(f).attribute(
                    values, baselines, n_steps=taken, method="gausslegendre", internal_batch_size=AT_ONCE
                )
                parts = tuple(one.detach().double().sum(dim=-1)[0].numpy() for one in found)
                attributed = Attributed(parts, float(ends[1]), float(ends[0]), taken)
                if steps is not None or attributed.complete or taken >= MOST_STEPS:
                    return attributed
                taken *= 2


def _captum() -> Any:
    try:
        from captum.attr import IntegratedGradients
    except ModuleNotFoundError:
        raise ConfigError("explain needs a package that is not installed: pip install 'funneltune[explain]'.") from None
    return IntegratedGradients
