"""When a run is saved, so that it goes on bit for bit; which weights count as its best; how it stops when asked."""

from __future__ import annotations

import time
from pathlib import Path
from signal import SIGTERM, SIGUSR1
from typing import Any

import lightning as L

from funneltune.callbacks.checkpoint_files import prune
from funneltune.callbacks.selection import require_measured, validation_only
from funneltune.callbacks.stopping import StopRequest
from funneltune.errors import ConfigError, Interrupted

FOLDER = "checkpoints"


class Checkpoints(L.Callback):
    """Keeps the newest checkpoints and, with `select="best"`, the best by `monitor`, in the run folder's checkpoints/.

    A checkpoint is taken only where a run can go on from it bit for bit: behind an optimizer step (gradients that
    accumulate are in no checkpoint), and, where a validation follows a step, behind that validation, since Lightning
    would leave it out. The step before is kept too, so that a stop during a validation loses one step.

    Weights that the tuning method cannot export yet (AdaLoRA before its last allocation) are never the best.

    Args:
        monitor: A validation metric.
        mode: Whether the best is its `max` or `min`.
        select: `best` keeps the best beside the newest; `last` the newest alone.
        every_minutes: Training time between two checkpoints; null: only at validations and ends of epochs.
        every_n_steps: Optimizer steps between two checkpoints; null: time decides.
        keep: How many of the newest stay.

    Raises:
        ConfigError: if a value is out of range, or the monitor is no validation metric.
    """

    def __init__(
        self,
        monitor: str,
        mode: str = "max",
        select: str = "last",
        every_minutes: float | None = 5.0,
        every_n_steps: int | None = None,
        keep: int = 2,
    ) -> None:
        field = "callbacks.checkpoint"
        if mode not in {"max", "min"}:
            raise ConfigError(f"{field}.mode={mode!r} must be max or min.")
        if select not in {"best", "last"}:
            raise ConfigError(f"{field}.select={select!r} must be best or last.")
        for name, value in (("every_minutes", every_minutes), ("every_n_steps", every_n_steps), ("keep", keep)):
            if value is not None and not (isinstance(value, (int, float)) and value > 0):
                raise ConfigError(f"{field}.{name}={value} must be above 0" + ("." if name == "keep" else ", or null."))
        watched = validation_only(f"{field}.monitor", monitor)
        self.monitor = watched if select == "best" else None
        self.sign = 1.0 if mode == "max" else -1.0
        self.every_minutes, self.every_n_steps, self.keep = every_minutes, every_n_steps, keep
        self.enabled = True
        self.stop = StopRequest()
        self.best, self.best_value = "", float("-inf")
        """File of the best weights so far, and the monitor's value there (its negative where less is better)."""
        self._kept: list[tuple[str, str]] = []
        """The newest checkpoints, and the best of their time."""
        self._folder, self._saved_at, self._saved_step = Path(), 0.0, -1

    # --- what a checkpoint keeps of this -----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The best so far, and which files belong to the run."""
        return {"best": self.best, "best_value": self.best_value, "kept": [list(pair) for pair in self._kept]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        self.best, self.best_value = state_dict["best"], state_dict["best_value"]
        self._kept = [(last, best) for last, best in state_dict["kept"]]

    @property
    def best_path(self) -> Path | None:
        """The best weights; None where none were eligible."""
        return self._folder / self.best if self.best else None

    # --- hooks -------------------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """The folder, known once there is a trainer."""
        self._folder = Path(trainer.default_root_dir) / FOLDER

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """From here on a stop waits for the end of a step."""
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        self.stop.patient = True
        self.stop.take()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save behind a step, if it is time, if a validation follows the next one, or if someone asked to stop."""
        if not _ends_step(trainer, batch_idx):
            return
        if _is_followed(trainer, batch_idx):  # saved behind what follows; the step before it is kept
            if not trainer.is_last_batch:
                self._leave_if_asked(trainer)
            return
        upcoming = range(batch_idx + 1, batch_idx + 1 + trainer.accumulate_grad_batches)
        if self._is_due(trainer) or any(_is_followed(trainer, index) for index in upcoming):
            self._save(trainer)
        self._obey(trainer)

    def on_validation_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """A validation is not waited for, where one process is all: the step before it was kept."""
        if trainer.state.fn == "fit" and self.stop.signum is not None and trainer.world_size == 1:
            raise Interrupted(self.stop.signum)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Consider the weights; save where the epoch goes on."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if self.monitor is not None and pl_module.tuning.exportable():
            self._consider(trainer)
        if not trainer.is_last_batch and _ends_step(trainer, trainer.fit_loop.batch_idx):
            self._save(trainer)
            self._obey(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Save."""
        self._save(trainer)
        self._obey(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """What follows can be done again: a stop is obeyed at once."""
        self.stop.patient = False

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Likewise."""
        self.stop.patient = False

    # --- deeds -------------------------------------------------------------------------------------------------

    def _obey(self, trainer: L.Trainer) -> None:
        """Where a run can go on from: save and stop if any rank was asked to; let Lightning queue the job again."""
        agreed = trainer.strategy.reduce_boolean_decision
        if self.stop.requeue is not None and agreed(self.stop.requeue_asked, all=False):
            self.stop.requeue_asked = False
            self._save(trainer)
            self.stop.requeue(SIGUSR1, None)
            if trainer.is_global_zero:  # Lightning's copy of what was just saved
                for copy in Path(trainer.default_root_dir).glob("hpc_ckpt_*"):
                    copy.unlink(missing_ok=True)
        self._leave_if_asked(trainer, save=True)

    def _leave_if_asked(self, trainer: L.Trainer, *, save: bool = False) -> None:
        if trainer.strategy.reduce_boolean_decision(self.stop.signum is not None, all=False):
            if save:
                self._save(trainer)
            # A rank that was not asked itself follows those that were.
            raise Interrupted(self.stop.signum or SIGTERM)

    def _is_due(self, trainer: L.Trainer) -> bool:
        steps = self.every_n_steps is not None and trainer.global_step - self._saved_step >= self.every_n_steps
        if self.every_minutes is None:
            return steps
        late = time.monotonic() - self._saved_at >= 60 * self.every_minutes
        return steps or trainer.strategy.reduce_boolean_decision(late, all=False)

    def _consider(self, trainer: L.Trainer) -> None:
        assert self.monitor is not None
        value = self.sign * require_measured("callbacks.checkpoint.monitor", self.monitor, trainer)
        if value > self.best_value and self.enabled:
            self.best, self.best_value = f"best-{trainer.global_step}.ckpt", value
            trainer.save_checkpoint(self._folder / self.best, weights_only=True)

    def _save(self, trainer: L.Trainer) -> None:
        """Write the run's state, then remove what it makes superfluous."""
        if not self.enabled or trainer.fast_dev_run or trainer.global_step == self._saved_step:  # type: ignore[attr-defined]
            return
        name = f"step-{trainer.global_step}.ckpt"
        self._kept = [*(pair for pair in self._kept if pair[0] != name), (name, self.best)][-self.keep :]
        trainer.save_checkpoint(self._folder / name, weights_only=False)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        if trainer.is_global_zero:
            prune(self._folder, {file for pair in self._kept for file in pair})


def _ends_step(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether the optimizer has stepped behind a batch (numbered from 0 in its epoch)."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or batch_idx + 1 == trainer.num_training_batches


def _is_followed(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether a validation or the epoch's end comes directly behind a batch."""
    if batch_idx + 1 >= trainer.num_training_batches:
        return True
    every = trainer.val_check_batch
    if not trainer.enable_validation or every is None or every == float("inf"):
        return False
    if trainer.check_val_every_n_epoch is None:
        begun = trainer.fit_loop.total_batch_idx - trainer.fit_loop.batch_idx
        return bool((begun + batch_idx + 1) % every == 0)
    return (trainer.current_epoch + 1) % trainer.check_val_every_n_epoch == 0 and (batch_idx + 1) % every == 0
