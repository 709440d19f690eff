"""What training costs: step time, rows and unique tokens per second, peak memory."""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch

from funneltune.schema import Batch

WARM_UP = 3
"""First optimizer steps that are not timed: allocations and caches."""


class Efficiency(L.Callback):
    """Times every optimizer step, from the arrival of its first batch to the end of its last.

    Peak memory is the device's allocation on a GPU; on a CPU the process's peak resident set since training began where
    the kernel lets it be reset, else since the process began (`peak_memory_scope` says which).
    """

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._begun = 0.0
        self._rows = self._tokens = 0
        self._seen_rows: list[int] = []
        self._seen_tokens: list[int] = []
        self._scope = "process"
        self._peak = 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reset the peak."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self._scope = "device"
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self._scope = "training"
        except OSError:
            self._scope = "process"

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """A step begins with its first batch."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._begun, self._rows, self._tokens = time.perf_counter(), 0, 0
            self._step = trainer.global_step
        self._rows += len(batch)
        self._tokens += int(batch.texts.token_ids.shape[0])

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """And ends with its last."""
        if trainer.global_step > self._step:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()
            self._seconds.append(time.perf_counter() - self._begun)
            self._seen_rows.append(self._rows)
            self._seen_tokens.append(self._tokens)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the peak before evaluation adds to it."""
        if self._scope == "device":
            self._peak = torch.cuda.max_memory_allocated()
        else:
            self._peak = peak_resident_bytes()

    def summary(self) -> dict[str, Any]:
        """The cost entries of a record."""
        timed = slice(WARM_UP if len(self._seconds) > WARM_UP else 0, None)
        seconds = self._seconds[timed]
        if not seconds:
            return {"steps": 0}
        return {
            "steps": len(self._seconds),
            "step_milliseconds_median": 1000 * statistics.median(seconds),
            "rows_per_second": sum(self._seen_rows[timed]) / sum(seconds),
            "unique_tokens_per_second": sum(self._seen_tokens[timed]) / sum(seconds),
            "train_seconds": sum(self._seconds),
            "peak_memory_bytes": self._peak,
            "peak_memory_scope": self._scope,
        }


def peak_resident_bytes() -> int:
    """The process's peak resident set, since it was last reset where the kernel counts that."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
