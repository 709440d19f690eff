"""Which checkpoint counts as best: by a validation metric, and only where a tuning method's weights may be selected."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

from funneltune.errors import ConfigError

LAST = "last.ckpt"


def validation_only(field: str, monitor: str) -> str:
    """A monitored name, refused unless it is a validation metric."""
    if not monitor.startswith("validation/"):
        raise ConfigError(
            f"{field}={monitor!r} must begin with validation/: the test split never selects a model; "
            "monitor the validation split's value of it."
        )
    return monitor


def require_measured(field: str, monitor: str, trainer: L.Trainer) -> None:
    """Refuse a monitor that validation did not log, naming the nearest that it did.

    Raises:
        ConfigError: on a misspelt name, or a metric that is undefined on this split (one class only).
    """
    if monitor in trainer.callback_metrics:
        return
    measured = sorted(name for name in trainer.callback_metrics if name.startswith("validation/"))
    near = (get_close_matches(monitor, measured, 1) or measured or ["none"])[0]
    raise ConfigError(
        f"{field}={monitor!r} is misspelt or undefined on the validation split; choose one that is measured: {near}."
    )


class BestCheckpoint(ModelCheckpoint):
    """Keeps `last.ckpt` and, with `select="best"`, the best by `monitor`, in the run folder's checkpoints/.

    Weights that the tuning method cannot export yet (AdaLoRA before its last allocation) are never the best. The last
    is written at each epoch's end and each validation within one, whether or not it is the best: Lightning's own
    `save_last` writes only where the best changed.
    """

    def __init__(self, monitor: str, mode: str = "max", select: str = "last") -> None:
        field = "callbacks.checkpoint.monitor"
        super().__init__(
            monitor=validation_only(field, monitor) if select == "best" else None,
            mode=mode,
            save_top_k=int(select == "best"),
            filename="best-{step}",
            auto_insert_metric_name=False,
        )
        self._field = field

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """The folder, known once there is a trainer."""
        self.dirpath = str(Path(trainer.default_root_dir) / "checkpoints")
        super().setup(trainer, pl_module, stage)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Consider the weights; keep them as the last where the epoch goes on."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if self.monitor is not None:
            require_measured(self._field, self.monitor, trainer)
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_last_batch:
            self._keep_last(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Consider the weights and keep them as the last."""
        super().on_train_epoch_end(trainer, pl_module)
        self._keep_last(trainer)

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Whether the current weights are the best of those that may be selected."""
        module: Any = trainer.lightning_module
        return bool(module.tuning.exportable()) and super().check_monitor_top_k(trainer, current)

    def _keep_last(self, trainer: L.Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            assert self.dirpath is not None
            self.last_model_path = str(Path(self.dirpath) / LAST)
            trainer.save_checkpoint(self.last_model_path)


class StopEarly(EarlyStopping):
    """Stop when a validation metric no longer improves (patience in validations).

    Validations before the tuning method's weights may be kept (AdaLoRA before its last allocation) do not count: a run
    that stopped there could not be exported.
    """

    def __init__(self, monitor: str, mode: str = "max", patience: int = 3, min_delta: float = 0.0) -> None:
        field = "callbacks.early_stopping.monitor"
        super().__init__(
            monitor=validation_only(field, monitor),
            mode=mode,
            patience=patience,
            min_delta=min_delta,
            check_on_train_epoch_end=False,
        )
        self._field = field

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Count a validation, if it counts."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        require_measured(self._field, self.monitor, trainer)
        if pl_module.tuning.exportable():
            super().on_validation_end(trainer, pl_module)
