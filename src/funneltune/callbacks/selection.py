"""Choosing by a validation metric, and only where a tuning method's weights may be chosen."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping

from funneltune.errors import ConfigError


def validation_only(field: str, monitor: str) -> str:
    """A monitored name, refused unless it is a validation metric."""
    if not monitor.startswith("validation/"):
        raise ConfigError(
            f"{field}={monitor!r} must begin with validation/: the test split never selects a model; "
            "monitor the validation split's value of it."
        )
    return monitor


def require_measured(field: str, monitor: str, trainer: L.Trainer) -> float:
    """The monitor's value at the last validation.

    Raises:
        ConfigError: where validation did not log it (naming the nearest that it did), or where it is undefined on this
            split (one class only): no weights can be chosen by it.
    """
    metrics = trainer.callback_metrics
    if monitor not in metrics:
        measured = sorted(name for name in metrics if name.startswith("validation/"))
        near = (get_close_matches(monitor, measured, 1) or measured or ["none"])[0]
        raise ConfigError(f"{field}={monitor!r} is not measured on the validation split; nearest: {near}.")
    value = float(metrics[monitor])
    if not math.isfinite(value):
        defined = sorted(n for n, v in metrics.items() if n.startswith("validation/") and math.isfinite(float(v)))
        module: Any = trainer.lightning_module
        found = module.measured.get("validation", {}).get(monitor.removeprefix("validation/"), {})
        why = (found.get("protocol") or {}).get("reason", "not finite")
        raise ConfigError(
            f"{field}={monitor!r} is undefined on the validation split ({why}); choose one that is defined there: "
            f"{(get_close_matches(monitor, defined, 1) or defined or ['none'])[0]}, or use a larger split."
        )
    return value


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

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """A run that had decided to stop, and was killed before it did, stops."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
