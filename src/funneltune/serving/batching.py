"""One thread owns the models; what arrives while it works is answered together in its next turn."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from funneltune.serving.limits import Limits

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
Rates = dict[str, NDArray[np.float64]]
"""Rate -> a probability per candidate."""


class QueueFullError(Exception):
    """More requests wait than the limits allow."""


class StoppedError(Exception):
    """The model thread takes no more work."""


class ScorerLike(Protocol):
    """What of `decisions.Scorer` the model thread calls."""

    def score(self, asked: Sequence[Any], items: Sequence[Any]) -> list[Rates]:
        """Calibrated probabilities by rate, one mapping per request."""


@dataclass(eq=False)
class Job(Generic[Answer]):
    """Some requests for one scorer, answered with others, or work that has the scorer for itself.

    Everything here runs in the model thread; the result goes to the event loop that asked.
    """

    scorer: ScorerLike
    finish: Callable[[Sequence[Rates]], Answer]
    """Probabilities of `asked` -> the answer; of work without `asked`, called with nothing in the list."""
    asked: Sequence[Any] = ()
    find: Callable[[], Sequence[Any]] = tuple
    """The candidates of each of `asked`, None for all items; found in the model thread, as it may ask the model."""
    size: int = 0
    """Candidates in all."""
    deadline: float = float("inf")
    """On `time.monotonic`; work that has not begun by then is dropped."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    future: asyncio.Future[Answer] = field(init=False)

    def __post_init__(self) -> None:
        """A place for the answer."""
        self.future = self.loop.create_future()

    @property
    def wanted(self) -> bool:
        """Whether anyone still waits."""
        return not self.future.cancelled() and time.monotonic() < self.deadline

    def _settle(self, answer: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(answer)
        else:
            self.future.set_exception(error)

    def settle(self, answer: Any = None, error: BaseException | None = None) -> None:
        """Hand the answer over; a loop that has gone wants none."""
        try:
            self.loop.call_soon_threadsafe(self._settle, answer, error)
        except RuntimeError:
            logger.debug("an answer came after the end of its loop")


class ModelThread:
    """The queue in front of the models, and the thread that empties it.

    No request waits for others to come: a turn takes what has gathered during the last one, so a lone client sees the
    model's own latency and a crowd shares its batches.

    Args:
        limits: How many wait, and how many are answered together.
        on_batch: Called with the number of requests and of candidates of each batch.
    """

    def __init__(self, limits: Limits, on_batch: Callable[[int, int], None]) -> None:
        self.limits, self.on_batch = limits, on_batch
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="funneltune-model", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether work is taken and the thread lives."""
        return self._thread.is_alive() and not self._stopping

    def submit(self, job: Job[Answer]) -> asyncio.Future[Answer]:
        """Put work at the end of the queue.

        Raises:
            QueueFullError: if as many wait as may.
            StoppedError: after `stop`.
        """
        with self._changed:
            if self._stopping:
                raise StoppedError
            if len(self._waiting) >= self.limits.waiting:
                raise QueueFullError
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def stop(self, seconds: float = 5.0) -> bool:
        """Answer what waits, then end the thread; whether it ended in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while batch := self._next():
            self._answer(batch)
            batch = []  # a batch that waits for the next keeps no answers alive

    def _next(self) -> list[Job]:
        """The next batch: the oldest request, and those behind it that the same scorer can answer with it."""
        with self._changed:
            while True:
                while self._waiting and not self._waiting[0].wanted:
                    self._waiting.popleft().settle(error=TimeoutError())
                if self._waiting:
                    break
                if self._stopping:
                    return []
                self._changed.wait()
            first = self._waiting.popleft()
            if not first.asked:
                return [first]
            batch, kept, size = [first], [], first.size
            while self._waiting and len(batch) < self.limits.batch:
                job = self._waiting.popleft()
                fits = job.asked and job.scorer is first.scorer and size + job.size <= self.limits.batch_items
                if not fits:
                    kept.append(job)
                elif job.wanted:
                    batch.append(job)
                    size += job.size
                else:
                    job.settle(error=TimeoutError())
            self._waiting.extendleft(reversed(kept))
            return batch

    def _answer(self, batch: list[Job]) -> None:
        try:
            asked = [one for job in batch for one in job.asked]
            items = [one for job in batch for one in job.find()]
            found = batch[0].scorer.score(asked, items) if asked else []
        except Exception as error:
            if len(batch) == 1:
                batch[0].settle(error=error)
            else:  # one request's fault is not its neighbours'
                for job in batch:
                    self._answer([job])
            return
        self.on_batch(len(batch), sum(job.size for job in batch))
        begin = 0
        for job in batch:
            try:
                job.settle(job.finish(found[begin : begin + len(job.asked)]))
            except Exception as error:
                job.settle(error=error)
            begin += len(job.asked)
