"""The ranks that one process starts: none outlives the others, and whoever is left says which one died."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from funneltune.data.workers import end_with_parent
from funneltune.errors import Interrupted, LostProcessError

STARTED_BY = "FUNNELTUNE_STARTED_BY"
"""Environment variable of a further rank: the process that started it."""
EVERY = 0.5
"""Seconds between two looks at the other ranks."""
PATIENCE = 10.0
"""Seconds in which a process whose rank died may find out by itself, and end in good order."""
TIMEOUT = 1800.0
"""Seconds that a rank waits for the others, where the config does not say (PyTorch's own number)."""
GONE = re.compile(
    r"gloo.*(?:closed by peer|reset by peer|Broken pipe|refused)|Connection closed by peer|ncclRemoteError"
)
LATE = re.compile(r"[Tt]imed out|[Tt]imeout")


class WatchedLauncher(_SubprocessScriptLauncher):
    """Lightning's launcher, which starts further ranks by replaying the command, without its observer: that one looks
    every five seconds and kills this process too, before it can say why.
    """

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        """Start the ranks, once, and call the function."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            with _started_by_this_process():
                self._call_children_scripts()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)

    def died(self) -> str | None:
        """The first rank that ended in failure, in words; None as long as all are well."""
        for number, process in enumerate(self.procs, start=1):
            status = process.poll()
            if status is not None and status < 0:
                return f"rank {number} was killed by {signal.Signals(-status).name}"
            if status:
                return f"rank {number} ended with status {status}; its own message stands above"
        return None

    def end(self) -> None:
        """The other ranks cannot go on without this one: they may say a last word."""
        until = time.monotonic() + 2 * EVERY
        while any(process.poll() is None for process in self.procs) and time.monotonic() < until:
            time.sleep(EVERY / 10)
        self.kill(signal.SIGKILL)


@contextmanager
def _started_by_this_process() -> Iterator[None]:
    os.environ[STARTED_BY] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(STARTED_BY, None)


@contextmanager
def following() -> Iterator[None]:
    """In a further rank: it ends when the process that started it has ended, and at once when it fails."""
    starter = os.environ.pop(STARTED_BY, None)
    if starter is not None:  # else it is torchrun's or SLURM's business
        end_with_parent()
        if os.getppid() != int(starter):
            os.kill(os.getpid(), signal.SIGKILL)
    try:
        yield
    except BaseException as error:
        told = error.code if isinstance(error, SystemExit) else getattr(error, "status", 1)
        atexit.register(_leave, told if isinstance(told, int) else 1)
        raise


def _leave(status: int) -> None:
    """Without the interpreter's last deeds: it would take gloo apart, which waits for ranks that wait for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def watch_over(trainer: L.Trainer, timeout: float) -> None:
    """Let a trainer's strategy wait so long for other ranks, and start them through `WatchedLauncher`."""
    strategy: Any = trainer.strategy
    if hasattr(strategy, "_timeout"):  # known by now, whatever word chose it; the process group is made later
        strategy._timeout = timedelta(seconds=timeout)
    launcher = strategy.launcher
    if type(launcher) is _SubprocessScriptLauncher:
        strategy._launcher = WatchedLauncher(launcher.cluster_environment, launcher.num_processes, launcher.num_nodes)


def lost_rank(error: BaseException, trainer: L.Trainer, timeout: float) -> LostProcessError | None:
    """What an error of the ranks' communication means; None where it is about something else."""
    said = str(error)
    broken = isinstance(error, torch.distributed.DistError)
    gone, late = GONE.search(said) is not None, (broken or "gloo" in said) and LATE.search(said) is not None
    if trainer.world_size == 1 or not (broken or gone or late):
        return None
    if not trainer.is_global_zero:
        time.sleep(PATIENCE)  # the first rank tells why, and this one ends with it; if not, it has its own word
    launcher = trainer.strategy.launcher
    if isinstance(launcher, WatchedLauncher) and launcher.procs:
        until = time.monotonic() + PATIENCE / 2
        while (died := launcher.died()) is None and not late and time.monotonic() < until:
            time.sleep(EVERY / 10)
        if died is not None:
            return LostProcessError(died)
    if late:
        return LostProcessError(
            f"rank {trainer.global_rank} waited trainer.rank_timeout={timeout:g} seconds for the others: one hangs, or "
            "is slow; a larger trainer.rank_timeout waits longer"
        )
    return LostProcessError(f"rank {trainer.global_rank} lost its connection to the others")


@contextmanager
def watched(trainer: L.Trainer, give_up: Callable[[LostProcessError], None]) -> Iterator[None]:
    """Meanwhile, where another rank dies and this process does not find out by itself (it may wait in a collective
    call, where nothing reaches it), `give_up` is called, then all that is left is killed.
    """
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, WatchedLauncher):
        yield
        return
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(EVERY):
            died = launcher.died()
            if died is not None and not ended.wait(PATIENCE):
                give_up(LostProcessError(died))
                launcher.kill(signal.SIGKILL)
                sys.stderr.flush()
                os._exit(1)

    threading.Thread(target=look, daemon=True, name="watch-over-ranks").start()
    try:
        yield
    except Interrupted:  # the others stop too, in good order
        raise
    except BaseException:
        launcher.end()
        raise
    finally:
        ended.set()
