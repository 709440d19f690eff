"""Regression labels in units of their own spread: one learning rate and one weight fit money and minutes alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from funneltune.funnel import TaskFunnel
from funneltune.schema import Batch


class LabelScales(nn.Module):
    """Mean and standard deviation of each regression label over the training rows where it is observed."""

    def __init__(self, funnel: TaskFunnel) -> None:
        super().__init__()
        self.tasks = {task.name: task.predicted[0] for task in funnel.tasks if task.kind == "regression"}
        for name in self.tasks:
            self.register_buffer(f"centre_{name}", torch.zeros(()))
            self.register_buffer(f"spread_{name}", torch.ones(()))

    def fit(self, values: Mapping[str, NDArray[np.floating]]) -> None:
        """Measure the training labels, task by task; a label without spread keeps its unit."""
        for name in self.tasks:
            found = np.asarray(values[name], dtype=np.float64)
            spread = float(found.std()) if len(found) else 0.0
            self.get_buffer(f"centre_{name}").fill_(float(found.mean()) if len(found) else 0.0)
            self.get_buffer(f"spread_{name}").fill_(spread if spread > 0 else 1.0)

    def standardise(self, batch: Batch) -> Batch:
        """The batch with regression labels in standard units."""
        if not self.tasks:
            return batch
        changed = {
            name: (batch.labels[name] - self.get_buffer(f"centre_{name}")) / self.get_buffer(f"spread_{name}")
            for name in self.tasks
        }
        return replace(batch, labels={**batch.labels, **changed})

    def restore(self, predicted: Mapping[str, Float[Tensor, " rows"]]) -> dict[str, Float[Tensor, " rows"]]:
        """Predicted means back in the labels' own units."""
        changed = {
            column: predicted[column] * self.get_buffer(f"spread_{name}") + self.get_buffer(f"centre_{name}")
            for name, column in self.tasks.items()
        }
        return {**predicted, **changed}
