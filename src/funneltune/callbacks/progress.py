"""Progress while training: one line of rich, nothing where no one watches."""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar


class Progress(RichProgressBar):
    """Rich's bar with steps per second and the loss; off where standard output is not a terminal.

    Args:
        refresh_rate: Batches between two updates.
        leave: Whether finished bars stay on the screen.
    """

    def __init__(self, refresh_rate: int = 5, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate if sys.stdout.isatty() else 0, leave=leave)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """The loss alone: W&B's run number means nothing here."""
        return {
            name.removeprefix("train/"): value
            for name, value in super().get_metrics(trainer, pl_module).items()
            if name.startswith("train/")
        }
