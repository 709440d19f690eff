"""A trial of a search is told at every validation how it stands, and stops where it will not be among the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
from optuna import TrialPruned

from funneltune.callbacks.selection import require_measured, validation_only


class Pruning(L.Callback):
    """Reports a validation metric, and stops the run where whoever hears it says so.

    The validations of a run are counted from 1, checkpoints included: trials are compared at equal counts, as their
    batches and so their steps may differ. The last one ends the run anyway, so it stops nothing.

    Args:
        monitor: A validation metric.
        report: Takes the count and the value; says whether to stop.

    Raises:
        ConfigError: if the monitor is no validation metric, or is not measured.
        TrialPruned: to stop the run.
    """

    def __init__(self, monitor: str, report: Callable[[int, float], bool]) -> None:
        self.monitor = validation_only("search.metrics", monitor)
        self.report = report
        self.validations = 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the count."""
        return {"validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        self.validations = int(state_dict["validations"])

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Report, and stop if told to."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        value = require_measured("search.metrics", self.monitor, trainer)
        self.validations += 1
        unpromising = self.report(self.validations, value)
        if unpromising and trainer.global_step < trainer.estimated_stepping_batches:
            raise TrialPruned(
                f"pruned at validation {self.validations}, step {trainer.global_step}: {self.monitor}={value:.4f}"
            )
