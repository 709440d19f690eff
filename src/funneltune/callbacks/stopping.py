"""SIGTERM and SIGINT: noted at once, obeyed where a run can go on from exactly."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from funneltune.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)
Handler = Callable[[int, FrameType | None], Any]


class StopRequest:
    """Whether someone asked the run to stop, or (under SLURM) to be queued again.

    While `patient`, a signal is only noted, for the training loop to obey after its step; SIGINT given twice is obeyed
    at once. At any other time it raises `Interrupted` where the program stands.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.patient = False
        self.requeue_asked = False
        """SLURM announced the job's end, and Lightning would queue it again."""
        self.requeue: Handler | None = None
        """Lightning's own answer to SLURM's signal, where it runs under SLURM."""
        self._usual: Any = None

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Take the signals for as long as the block lasts. Python delivers them to the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {signum: signal.getsignal(signum) for signum in SIGNALS}
        self._usual = signal.getsignal(signal.SIGUSR1)
        self.take()
        try:
            yield self
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def take(self) -> None:
        """Take the signals (again: Lightning's trainer puts handlers of its own, which act in the middle of a step)."""
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in SIGNALS:
            signal.signal(signum, self._note)
        lightnings = signal.getsignal(signal.SIGUSR1)
        if self.patient and callable(lightnings) and lightnings not in (self._usual, self._note_requeue):
            self.requeue = lightnings
            signal.signal(signal.SIGUSR1, self._note_requeue)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        again = self.signum == signum == signal.SIGINT
        if not self.patient or again:
            raise Interrupted(signum)
        if self.signum is None:
            more = ": stopping after this step (once more to stop at once)" if signum == signal.SIGINT else ""
            sys.stderr.write(f"\n{signal.Signals(signum).name}{more or ': stopping after this step'}\n")
        self.signum = signum

    def _note_requeue(self, signum: int, frame: FrameType | None) -> None:
        self.requeue_asked = True
