"""Predictions of an evaluation, gathered exactly: every row once, in store order, over one process or many."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from funneltune.errors import RunError
from funneltune.funnel import TaskFunnel


class PredictionMeter(Metric):
    """Collects the funnel's predictions per row, so that metrics/ computes one exact number from all.

    The states are concatenated over ranks, uneven shares included; rows are sorted afterwards, so the result does not
    depend on the number of processes. Batch metrics are never averaged: an AUC of parts is not the whole's.
    """

    full_state_update = False
    rows: list[Tensor]
    values: list[Tensor]

    def __init__(self, funnel: TaskFunnel) -> None:
        super().__init__()
        self.funnel = funnel
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, row: Int[Tensor, " rows"], predicted: Mapping[str, Float[Tensor, " rows"]]) -> None:
        """Add a batch of `schema.predictions`."""
        self.rows.append(row.detach())
        stacked = [predicted[name] for name in self.funnel.predicted]
        self.values.append(torch.stack(stacked, dim=1).detach().float())

    def begin(self) -> None:
        """Forget what was gathered; an empty batch makes a rank without rows take part in the gathering."""
        self.reset()
        device = self.device
        self.rows.append(torch.zeros(0, dtype=torch.long, device=device))
        self.values.append(torch.zeros(0, len(self.funnel.predicted), device=device))
        self._update_count = 1
        self._computed = None

    def compute(self) -> tuple[Tensor, Tensor]:
        """Row numbers, ascending, and what was predicted of them: (rows,) and (rows, columns)."""
        rows, values = dim_zero_cat(self.rows), dim_zero_cat(self.values)
        order = torch.argsort(rows, stable=True)
        return rows[order], values[order]

    def columns(
        self, expected_rows: NDArray[np.int64], *, partial: bool = False
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
        """The store rows that were evaluated, ascending, and their columns `p_...` and `mean_...` as float64.

        `expected_rows` are the split's, ascending; with `partial` (a trainer that limits batches) some may be missing.

        Raises:
            RunError: if a row is repeated, foreign or missing: then no metric may be computed.
        """
        gathered, stacked = self.compute()
        rows = gathered.cpu().numpy().reshape(-1)  # torchmetrics makes a scalar of a single row
        complete = np.isin(rows, expected_rows).all() if partial else len(rows) == len(expected_rows)
        if not complete or len(np.unique(rows)) != len(rows) or not np.isin(rows, expected_rows).all():
            raise RunError(
                f"evaluation gathered {len(rows)} rows ({len(np.unique(rows))} distinct) where the split has "
                f"{len(expected_rows)} (repeated or missing rows bias every metric); use the datamodule's loaders and "
                "trainer.use_distributed_sampler=false."
            )
        values = stacked.double().cpu().numpy()
        return rows, {
            name: np.exp(values[:, index]) if name.startswith("p_") else values[:, index]
            for index, name in enumerate(self.funnel.predicted)
        }
