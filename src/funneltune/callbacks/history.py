"""Every logged number over time, in one file: losses, validation metrics, learning rates, ranks per matrix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.files import whole_file
from funneltune.records import HISTORY_NAME


class History(L.Callback):
    """Writes `history.parquet` (step, name, value) into the run folder, also when training fails.

    `step` counts optimizer steps done. Training values keep the names they are logged by; learning rates are
    `lr/<group>`, live ranks `rank/<matrix>`; tasks' gradients (`gradient/...`) stand at the steps that measured them.

    Args:
        every_n_steps: Optimizer steps between two entries of the training values.

    Raises:
        ConfigError: if that is less than one.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ConfigError(f"callbacks.history.every_n_steps={every_n_steps} must be >= 1.")
        self.every_n_steps = every_n_steps
        self._rows: list[tuple[int, str, float]] = []
        self._step = -1

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the entries so far, each name once."""
        steps, names, values = zip(*self._rows, strict=True) if self._rows else ((), (), ())
        known = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return {
            "steps": torch.tensor(steps, dtype=torch.int64),
            "names": list(known),
            "name": torch.tensor([known[name] for name in names], dtype=torch.int64),
            "values": torch.tensor(values, dtype=torch.float64),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        names = [state_dict["names"][number] for number in state_dict["name"].tolist()]
        self._rows = list(zip(state_dict["steps"].tolist(), names, state_dict["values"].tolist(), strict=True))

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Ranks and rates before the first step."""
        self._step = trainer.global_step
        if not self._rows:
            self._add_state(trainer, pl_module)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Training values, rates and ranks, every few steps and at an epoch's last one."""
        step = trainer.global_step
        if step == self._step:  # a batch that accumulates
            return
        self._step = step
        if balancer := getattr(pl_module, "balancer", None):
            self._add(step, balancer.scalars)  # of the steps in which gradients are measured
        if step % self.every_n_steps == 0 or trainer.is_last_batch:
            self._add(step, _named(trainer, ("train/", "tuning/", "head/")))
            self._add_state(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Validation metrics."""
        if trainer.sanity_checking:
            return
        step, measured = trainer.global_step, _named(trainer, ("validation/",))
        if trainer.state.fn == TrainerFn.FITTING:
            self._add(step, measured)
            return
        # Of the chosen weights, after training: those of the last step were measured in it, and are again where the
        # run was cut off behind it.
        before = len(self._rows)
        self._add(step, measured)
        new = self._rows[before:]
        if list(map(repr, self._rows[before - len(new) : before])) == list(map(repr, new)):  # NaN equals NaN
            del self._rows[before:]
        self._write(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Keep what there is."""
        self._write(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """The whole history."""
        self._write(trainer)

    def _add_state(self, trainer: L.Trainer, pl_module: Any) -> None:
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        self._add(trainer.global_step, {f"lr/{group.get('name', i)}": group["lr"] for i, group in enumerate(groups)})
        ranks = pl_module.tuning.rank_pattern() or {}
        self._add(trainer.global_step, {f"rank/{name}": rank for name, rank in ranks.items()})

    def _add(self, step: int, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self._rows.append((step, name, value.item() if isinstance(value, Tensor) else float(value)))

    def _write(self, trainer: L.Trainer) -> None:
        if not trainer.is_global_zero:
            return
        steps, names, values = zip(*self._rows, strict=True) if self._rows else ((), (), ())
        columns = {
            "step": pa.array(steps, pa.int64()),
            "name": pa.array(names, pa.string()),
            "value": pa.array(values, pa.float64()),
        }
        with whole_file(Path(trainer.default_root_dir) / HISTORY_NAME) as part:
            pq.write_table(pa.table(columns), part, write_page_checksum=True)


def _named(trainer: L.Trainer, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: value for name, value in trainer.callback_metrics.items() if name.startswith(prefixes)}
