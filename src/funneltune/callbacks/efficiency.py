"""What training costs: step time, rows and unique tokens per second, peak memory."""

from __future__ import annotations

import ctypes
import gc
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch

from funneltune.data import ResumableLoader
from funneltune.schema import Batch

WARM_UP = 3
"""First optimizer steps that are not timed: allocations and caches."""


class Efficiency(L.Callback):
    """Times every optimizer step and takes the peak memory of training, validation left out.

    A step lasts from the arrival of its first batch to the end of its last, optimizer and rank allocation included;
    waiting for the loader is counted apart. Rows and tokens are those of this rank.
    """

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._rows: list[int] = []
        self._tokens: list[int] = []
        self._begun, self._step = 0.0, -1
        self._open = [0, 0]
        self._memory: PeakMemory | None = None
        self._created, self._earlier, self._earlier_peak = time.perf_counter(), 0.0, 0
        self._before, self._scope = 0, "process"
        self._waited = 0.0
        self._loader: ResumableLoader | None = None

    @property
    def wall_seconds(self) -> float:
        """Since this was made, and what earlier parts of an interrupted run took up to the checkpoint."""
        return time.perf_counter() - self._created + self._earlier

    @property
    def waited(self) -> float:
        """Seconds in which training had no batch yet."""
        return self._waited + (self._loader.waited if self._loader is not None else 0.0)

    @property
    def peak(self) -> int:
        """The most memory of all parts of the run."""
        return max(self._earlier_peak, self._memory.highest() if self._memory is not None else 0)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the steps so far."""
        return {
            "seconds": torch.tensor(self._seconds, dtype=torch.float64),
            "rows": torch.tensor(self._rows, dtype=torch.int64),
            "tokens": torch.tensor(self._tokens, dtype=torch.int64),
            "wall_seconds": self.wall_seconds,
            "waited": self.waited,
            "peak": self.peak,
            "before": self._before,
            "scope": self._scope,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        self._seconds, self._rows, self._tokens = (state_dict[k].tolist() for k in ("seconds", "rows", "tokens"))
        self._earlier, self._earlier_peak = float(state_dict["wall_seconds"]), int(state_dict["peak"])
        self._waited = float(state_dict["waited"])
        self._before, self._scope = int(state_dict["before"]), str(state_dict["scope"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Weights are on their device by now: the peak counts from here."""
        self._memory = PeakMemory("cuda" if pl_module.device.type == "cuda" else "cpu")
        self._before, self._scope = self._memory.before, self._memory.scope
        loader = trainer.train_dataloader
        self._loader = loader if isinstance(loader, ResumableLoader) else None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """A step begins with the first batch since the last one."""
        if self._step != trainer.global_step:
            self._step, self._open, self._begun = trainer.global_step, [0, 0], time.perf_counter()
        self._open[0] += len(batch)
        self._open[1] += int(batch.texts.token_ids.shape[0])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """And ends with the batch after which the optimizer has stepped."""
        if trainer.global_step == self._step:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self._seconds.append(time.perf_counter() - self._begun)
        self._rows.append(self._open[0])
        self._tokens.append(self._open[1])

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What validation takes is not training's."""
        if self._memory is not None:
            self._memory.pause()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Training goes on."""
        if self._memory is not None:
            self._memory.resume()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the peak before the test adds to it."""
        if self._memory is not None:
            self._memory.stop()

    def summary(self) -> dict[str, Any]:
        """The cost entries of a record; without a trained step only `steps`."""
        timed = slice(WARM_UP if len(self._seconds) > WARM_UP else 0, None)
        seconds = self._seconds[timed]
        if not seconds:
            return {"steps": 0}
        return {
            "steps": len(self._seconds),
            "step_milliseconds_median": 1000 * statistics.median(seconds),
            "rows_per_second": sum(self._rows[timed]) / sum(seconds),
            "unique_tokens_per_second": sum(self._tokens[timed]) / sum(seconds),
            "train_seconds": sum(self._seconds),
            "data_wait_share": self.waited / (self.waited + sum(self._seconds)),
            "peak_memory_bytes": self.peak,
            "peak_memory_growth_bytes": self.peak - self._before,
            "peak_memory_scope": self._scope,
        }


class PeakMemory:
    """The most memory that was in use while it watched.

    `scope` says what was counted: `device` (allocated by PyTorch on the GPU), `training` (the process's resident set,
    its high-water mark reset when training began) or `process` (the same since the process began, where the kernel
    does not let it be reset). `before` is what was in use when it began: earlier runs of the same process, libraries.
    """

    def __init__(self, device: str = "cpu") -> None:
        if device == "cuda":
            self.scope = "device"
        else:
            release_freed()
            self.scope = "training" if reset_high_water_mark() else "process"
        self.peak = 0
        self._watching = False
        self.resume()
        self.before = torch.cuda.memory_allocated() if self.scope == "device" else resident_bytes("VmRSS")

    def resume(self) -> None:
        """Count anew from what is in use now."""
        if self.scope == "device":
            torch.cuda.reset_peak_memory_stats()
        elif self.scope == "training":
            reset_high_water_mark()
        self._watching = True

    def pause(self) -> None:
        """Keep the peak so far, and look away."""
        self.peak = self.highest()
        self._watching = False

    stop = pause

    def highest(self) -> int:
        """The peak so far."""
        if not self._watching:
            return self.peak
        seen = torch.cuda.max_memory_allocated() if self.scope == "device" else resident_bytes("VmHWM")
        return max(self.peak, seen)


def reset_high_water_mark() -> bool:
    """Whether the kernel let us reset the process's peak resident set (Linux: proc(5), clear_refs, 5)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident_bytes(field: str) -> int:
    """The process's resident set now (`VmRSS`) or at its peak (`VmHWM`); always the peak where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def release_freed() -> None:
    """Give freed memory back to the system: what an earlier run of this process freed is not this run's."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other systems do without
    if trim is not None:
        trim(0)
