"""Our side: the module, datamodule and trainer of `funneltune train`, a few steps at a time."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig

from benchmarks.measure import Step
from funneltune.cli.compose import compose_config
from funneltune.runs.assemble import Assembly, assemble, make_trainer
from funneltune.schema import Batch

QUIET = ("trainer.enable_progress_bar=false", "trainer.enable_checkpointing=false", "logger=none")
NO_END = ("trainer.max_epochs=-1", "trainer.limit_val_batches=0")


def quiet() -> None:
    """Lightning's advice, left out: the numbers are the message."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


def composed(*overrides: str) -> DictConfig:
    """The config of `funneltune train OVERRIDES`, without bar, checkpoints, trackers and validation."""
    return compose_config([*QUIET, *NO_END, *overrides])


class Ours:
    """A run of ours: loader, guard, clipping, optimizer and scheduler as `funneltune train` has them.

    Args:
        overrides: As on the command line: `experiment=quickstart`, `tuning=lora`, `data.rows_per_batch=4096`.
    """

    def __init__(self, *overrides: str) -> None:
        quiet()
        self.cfg = composed(*overrides)
        L.seed_everything(int(self.cfg.seed), workers=True, verbose=False)
        self.assembly: Assembly = assemble(self.cfg)
        self.assembly.data.prepare_data()

    def run(self, steps: int) -> list[Step]:
        """See `Contestant.run`; every call begins at the first batch of the epoch."""
        clock = StepClock()
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cfg = self.cfg.copy()
            cfg.trainer.max_steps = steps + 1
            make_trainer(cfg, Path(folder), [clock], []).fit(self.assembly.module, datamodule=self.assembly.data)
        return clock.steps


class StepClock(L.Callback):
    """Times steps from end to end, and how long each waited for its batch."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._ended: float | None = None
        self._begun = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        """The batch is there."""
        self._begun = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """The step has ended; the first one is the warm-up."""
        now = time.perf_counter()
        if self._ended is not None:
            tokens = int(batch.texts.token_ids.shape[0])
            self.steps.append(Step(len(batch), now - self._ended, self._begun - self._ended, tokens))
        self._ended = now
