"""Predictions of an evaluation, gathered exactly: every row once, in store order, over one process or many."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from funneltune.errors import RunError
from funneltune.funnel import TaskFunnel
from funneltune.schema import LogProbabilities


class PredictionMeter(Metric):
    """Collects p(task | edges) and p(task and edges) per row, so that metrics/ computes one exact number from all.

    The states are concatenated over ranks, uneven shares included; rows are sorted afterwards, so the result does not
    depend on the number of processes. Batch metrics are never averaged: an AUC of parts is not the whole's.
    """

    full_state_update = False
    rows: list[Tensor]
    log_p: list[Tensor]

    def __init__(self, funnel: TaskFunnel) -> None:
        super().__init__()
        self.funnel = funnel
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("log_p", default=[], dist_reduce_fx="cat")

    def update(self, row: Int[Tensor, " rows"], predicted: LogProbabilities) -> None:
        """Add a batch."""
        names = self.funnel.names
        stacked = [predicted.conditional[n] for n in names] + [predicted.joint[n] for n in names]
        self.rows.append(row.detach())
        self.log_p.append(torch.stack(stacked, dim=1).detach().float())

    def begin(self) -> None:
        """Forget what was gathered; an empty batch makes a rank without rows take part in the gathering."""
        self.reset()
        device = self.device
        self.rows.append(torch.zeros(0, dtype=torch.long, device=device))
        self.log_p.append(torch.zeros(0, 2 * len(self.funnel.names), device=device))
        self._update_count = 1
        self._computed = None

    def compute(self) -> tuple[Tensor, Tensor]:
        """Row numbers, ascending, and their log-probabilities: (rows,) and (rows, 2 x tasks)."""
        rows, log_p = dim_zero_cat(self.rows), dim_zero_cat(self.log_p)
        order = torch.argsort(rows, stable=True)
        return rows[order], log_p[order]

    def columns(
        self, expected_rows: NDArray[np.int64], *, partial: bool = False
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
        """The store rows that were evaluated, ascending, and their columns `p_<task>` as float64 probabilities.

        `expected_rows` are the split's, ascending; with `partial` (a trainer that limits batches) some may be missing.

        Raises:
            RunError: if a row is repeated, foreign or missing: then no metric may be computed.
        """
        gathered, log_p = self.compute()
        rows = gathered.cpu().numpy().reshape(-1)  # torchmetrics makes a scalar of a single row
        complete = np.isin(rows, expected_rows).all() if partial else len(rows) == len(expected_rows)
        if not complete or len(np.unique(rows)) != len(rows) or not np.isin(rows, expected_rows).all():
            raise RunError(
                f"evaluation gathered {len(rows)} rows ({len(np.unique(rows))} distinct) where the split has "
                f"{len(expected_rows)} (repeated or missing rows bias every metric); use the datamodule's loaders and "
                "trainer.use_distributed_sampler=false."
            )
        values = np.exp(log_p.double().cpu().numpy())
        columns: dict[str, NDArray[np.float64]] = {}
        for index, task in enumerate(self.funnel.tasks):
            columns[f"p_{task.conditional}"] = values[:, index]
            columns[f"p_{task.joint}"] = values[:, len(self.funnel.tasks) + index]
        return rows, columns
