"""What a row costs: cross-entropy, and what it becomes with smoothed labels, class weights and a focus on hard rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.likelihoods import bernoulli_nll
from funneltune.schema import log1mexp


class RowLoss:
    """-[y' w log p (1 - p)^gamma + (1 - y') log(1 - p) p^gamma], y' = y (1 - s) + s / 2.

    Args:
        focal_gamma: Rows that are predicted well count less (Lin et al. 2017, eq. 4, without its alpha); 0: all alike.
        label_smoothing: s: how far labels are moved towards 1/2 (Szegedy et al. 2016).
        positive_weight: Task -> w, how much its positives count beside its negatives; 1 where none is named.

    Any of these but the first defaults moves the predicted level away from the true rate; scale it after training.

    Raises:
        ConfigError: if a value is out of range.
    """

    def __init__(
        self,
        focal_gamma: float = 0.0,
        label_smoothing: float = 0.0,
        positive_weight: Mapping[str, float] | None = None,
    ) -> None:
        if not focal_gamma >= 0:
            raise ConfigError(f"objective.rows.focal_gamma={focal_gamma} must be >= 0; 0 counts all rows alike.")
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"objective.rows.label_smoothing={label_smoothing} must lie in [0, 1).")
        self.gamma, self.smoothing = focal_gamma, label_smoothing
        self.positive_weight = dict(positive_weight or {})

    def check(self, funnel: TaskFunnel) -> None:
        """Refuse weights of tasks that there are not."""
        for task, weight in self.positive_weight.items():
            if task not in funnel.names or not funnel[task].binary:
                names = ", ".join(one.name for one in funnel.binary)
                raise ConfigError(f"objective.rows.positive_weight.{task} names no binary task; there are {names}.")
            if not weight > 0:
                raise ConfigError(f"objective.rows.positive_weight.{task}={weight} must be above 0.")

    @property
    def plain(self) -> bool:
        """Whether it is the negative log-likelihood."""
        return not (self.gamma or self.smoothing or any(w != 1 for w in self.positive_weight.values()))

    def __call__(
        self, log_p: Float[Tensor, " rows"], label: Float[Tensor, " rows"], task: str
    ) -> Float[Tensor, " rows"]:
        """The cost of each row. `label` is 0 or 1, or an unbiased estimate of it (a click over its propensity)."""
        weight = self.positive_weight.get(task, 1.0)
        hard = bool(((label == 0) | (label == 1)).all())
        if hard and not (self.gamma or self.smoothing):
            nll = bernoulli_nll(log_p, label)
            return nll if weight == 1 else nll * torch.where(label > 0.5, weight, 1.0)
        target = label * (1 - self.smoothing) + self.smoothing / 2
        log_q = log1mexp(log_p)
        easy_positive = torch.exp(self.gamma * log_q) if self.gamma else 1.0  # (1 - p)^gamma
        easy_negative = torch.exp(self.gamma * log_p) if self.gamma else 1.0
        return -(weight * target * easy_positive * log_p + (1 - target) * easy_negative * log_q)
