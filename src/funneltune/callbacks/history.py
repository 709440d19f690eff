"""Every logged number over time, in one file: losses, validation metrics, learning rates, ranks per matrix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

NAME = "history.parquet"


class History(L.Callback):
    """Writes `history.parquet` (step, name, value) into the run folder, also when training fails.

    Args:
        every_n_steps: Optimizer steps between two entries of the training values.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        self.every_n_steps = every_n_steps
        self._rows: list[tuple[int, str, float]] = []

    def _add(self, step: int, values: dict[str, Any]) -> None:
        for name, value in values.items():
            number = value.item() if isinstance(value, Tensor) else float(value)
            self._rows.append((step, name, number))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Training values, rates and ranks, every few steps and at the last one."""
        step = trainer.global_step
        if step % self.every_n_steps and not trainer.is_last_batch:
            return
        logged = {k: v for k, v in trainer.callback_metrics.items() if k.startswith(("train/", "tuning/"))}
        self._add(step, logged)
        self._add(step, {f"lr/{group.get('name', i)}": group["lr"] for i, group in enumerate(_groups(trainer))})
        self._add(step, {f"rank/{name}": rank for name, rank in (pl_module.tuning.rank_pattern() or {}).items()})

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Validation metrics."""
        found = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("validation/")}
        self._add(trainer.global_step, found)

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Keep what there is."""
        self._write(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """The whole history."""
        self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        steps, names, values = zip(*self._rows, strict=True) if self._rows else ((), (), ())
        table = pa.table(
            {
                "step": pa.array(steps, pa.int64()),
                "name": pa.array(names, pa.string()),
                "value": pa.array(values, pa.float64()),
            }
        )
        part = folder / f"{NAME}.part"
        pq.write_table(table, part, write_page_checksum=True)
        os.replace(part, folder / NAME)


def _groups(trainer: L.Trainer) -> list[dict[str, Any]]:
    return [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
