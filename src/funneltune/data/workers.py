"""What a loader's workers are at, and what is said of one that is killed, raises or hangs."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import RawArray, active_children
from multiprocessing.connection import wait
from pathlib import Path

from torch.utils.data import get_worker_info

from funneltune.data.sampling import Draw
from funneltune.errors import FailedRunError, FunnelError, LostProcessError, NoMemoryError, is_out_of_memory
from funneltune.schema import Batch

IDLE = -1
KILLED = "is killed by signal: "
DEAD = re.compile(rf"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:{KILLED}(\w[\w ]*)|exited unexpectedly)")
"""How PyTorch tells that workers died; their process ids, and the signal."""
LATE = "DataLoader timed out"
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Numbered:
    """A draw and its number in the epoch, from 0."""

    number: int
    draw: Draw


@dataclass(frozen=True)
class Failed:
    """What a worker sends in place of a batch that it could not make; strings only, which always arrive."""

    kind: type[FunnelError]
    """What is raised where the batch was awaited."""
    told: str
    number: int
    mendable: bool
    """Whether `told` is a message for the user already."""


class Workers:
    """Makes batches, in a loader's workers or without any, and remembers which worker is at which.

    Args:
        collate: A draw to a batch.
        count: Workers; 0: the training process itself makes batches.
        timeout: Seconds in which a batch must come; None: any.
    """

    def __init__(self, collate: Callable[[Draw], Batch], count: int, timeout: float | None) -> None:
        self.collate, self.timeout = collate, timeout
        self._pids = RawArray(ctypes.c_int64, count)
        self._at = RawArray(ctypes.c_int64, [IDLE] * count)

    def begin(self, _: int) -> None:
        """In a new worker: it ends with the process that it serves, which alone obeys a terminal's interrupt."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_with_parent()

    def __call__(self, numbered: Numbered) -> Batch | Failed:
        """The batch of a draw; in a worker, what went wrong instead of an error."""
        info = get_worker_info()
        if info is None:
            return self.collate(numbered.draw)
        self._pids[info.id], self._at[info.id] = os.getpid(), numbered.number
        try:
            return self.collate(numbered.draw)
        except FunnelError as error:
            return Failed(type(error), str(error), numbered.number, mendable=True)
        except Exception as error:
            kind = NoMemoryError if is_out_of_memory(error) else FailedRunError
            return Failed(kind, _where_and_what(error), numbered.number, mendable=False)
        finally:
            self._at[info.id] = IDLE

    def raised(self, failed: Failed, place: str) -> FunnelError:
        """The error of a batch that a worker could not make; `place` names the batch."""
        if failed.mendable:
            return failed.kind(failed.told)
        if failed.kind is NoMemoryError:
            return NoMemoryError(
                f"a loader worker had not the memory for {place} ({failed.told}); nothing was "
                "changed: use fewer data.workers, each holds batches of its own, or a smaller data.rows_per_batch."
            )
        return failed.kind(
            f"a loader worker raised at {place}: {failed.told}; data.workers=0 shows where it came from."
        )

    def ended(self, within: float) -> str | None:
        """What PyTorch would say of a worker that has ended or does in so many seconds; None where all live."""
        missing = set(filter(None, self._pids))
        living = [one for one in active_children() if one.pid in missing]
        missing.difference_update(one.pid for one in living)
        ending = wait([one.sentinel for one in living], timeout=0 if missing else within)
        for one in living:
            if one.sentinel in ending:
                one.join()
                code = one.exitcode or 0
                how = f"{KILLED}{signal.strsignal(-code)}" if code < 0 else "exited unexpectedly"
                return f"DataLoader worker (pid {one.pid}) {how}"
        return f"DataLoader worker (pid {missing.pop()}) exited unexpectedly" if missing else None

    def lost(self, error: BaseException, awaited: int, place: Callable[[int], str]) -> LostProcessError | None:
        """What PyTorch's word of a dead or late worker means; None where it is about something else.

        `awaited` is the number of the batch that comes next; `place` names one by its number.
        """
        said = f"{error.__cause__} {error}"  # PyTorch may tell twice: which signal, then that a worker has ended
        if LATE in said:
            return LostProcessError(
                f"{place(awaited)} did not come within data.worker_timeout={self.timeout:g} seconds: a loader "
                "worker hangs, or is slow; data.workers=0 shows where, a larger data.worker_timeout waits longer "
                "(null: for ever)."
            )
        found = DEAD.search(said)
        if found is None:
            return None
        how = f"was killed ({found[2]})" if found[2] else "ended"
        pids = {int(pid) for pid in found[1].split(",")}
        at = sorted(self._at[n] for n, pid in enumerate(self._pids) if pid in pids and self._at[n] != IDLE)
        where = f"while it made {place(at[0])}" if at else "between two batches"
        return LostProcessError(
            f"a loader worker {how} {where}: by someone, by the system for want of memory (fewer data.workers), or by "
            "its own code (data.workers=0 shows where)."
        )


def end_with_parent() -> None:
    """Let this process be killed when the one that started it is gone, whatever it is doing then (Linux)."""
    control = getattr(ctypes.CDLL(None), "prctl", None)
    if control is not None:
        control(PR_SET_PDEATHSIG, signal.SIGKILL)


def _where_and_what(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f" ({Path(last.filename).name}, line {last.lineno})" if last is not None else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"
