"""Which checkpoint counts as best: by a validation metric, and only where a tuning method's weights may be selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

from funneltune.errors import ConfigError


def validation_only(field: str, monitor: str) -> str:
    """A monitored name, refused unless it is a validation metric."""
    if not monitor.startswith("validation/"):
        raise ConfigError(f"{field}={monitor!r} must begin with validation/: the test split never selects a model.")
    return monitor


class BestCheckpoint(ModelCheckpoint):
    """Keeps `last.ckpt` and, with `select=best`, the best by `monitor`, in the run folder's checkpoints/.

    Weights that the tuning method cannot export yet (AdaLoRA before its last allocation) are never the best.
    """

    def __init__(self, monitor: str, mode: str = "max", select: str = "last") -> None:
        super().__init__(
            monitor=validation_only("callbacks.checkpoint.monitor", monitor) if select == "best" else None,
            mode=mode,
            save_top_k=int(select == "best"),
            save_last=True,
            filename="best-{step}",
            auto_insert_metric_name=False,
        )
        self._exportable = True

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """The folder, known once there is a trainer."""
        self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Consider the weights, if they may be selected."""
        self._exportable = pl_module.tuning.exportable()
        super().on_validation_end(trainer, pl_module)

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Whether the current weights are the best of those that count."""
        return self._exportable and super().check_monitor_top_k(trainer, current)


class StopEarly(EarlyStopping):
    """Stop when a validation metric no longer improves (patience in validations)."""

    def __init__(self, monitor: str, mode: str = "max", patience: int = 3, min_delta: float = 0.0) -> None:
        super().__init__(
            monitor=validation_only("callbacks.early_stopping.monitor", monitor),
            mode=mode,
            patience=patience,
            min_delta=min_delta,
        )
