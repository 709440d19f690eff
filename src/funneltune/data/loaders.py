"""Draws to batches, epoch after epoch, from wherever training stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from funneltune.data.sampling import Draw, Plan, Requests
from funneltune.data.workers import Failed, Numbered, Workers
from funneltune.errors import LostProcessError
from funneltune.schema import Batch

SHOWN = 5
UNDERWAY = (ConnectionError, EOFError, FileNotFoundError)
"""What receiving a batch raises where its worker died in between: its memory is asked for over the worker's socket."""
WORD_OF_DEATH = 10.0
"""Seconds in which the system tells of such a death: a process gives its sockets back before it is gone."""


class _Draws(Dataset[Numbered]):
    """A draw is its own index: the sampler hands draws over, `collate_fn` turns one into a batch."""

    def __getitem__(self, draw: Numbered) -> Numbered:
        return draw


class EpochSampler(Sampler[Numbered]):
    """Draws of one rank, epoch after epoch; where it stands is all its state."""

    def __init__(self, plan: Callable[[int], Plan], rank: Callable[[], int]) -> None:
        self.plan, self.rank = plan, rank
        self.epoch = 0
        self.drawn = 0

    def __iter__(self) -> Iterator[Numbered]:
        for draw in self.plan(self.epoch).draws(self.rank(), skip=self.drawn):
            self.drawn += 1
            yield Numbered(self.drawn - 1, draw)
        self.epoch, self.drawn = self.epoch + 1, 0

    def __len__(self) -> int:
        return len(self.plan(self.epoch))

    def draw(self, epoch: int, number: int) -> Draw:
        """That of one batch."""
        return next(self.plan(epoch).draws(self.rank(), skip=number))


class ResumableLoader(DataLoader[Any]):
    """A loader that knows how many batches were *trained on*, and goes on behind them.

    Lightning calls `state_dict` and `load_state_dict` by itself. Prefetching workers run ahead of training, so the
    state counts what was handed out, not what was drawn.

    Args:
        sampler: Which draws.
        collate: A draw to a batch.
        rows_of: Requests to rows of the log.
        workers: Processes that make batches; 0: this one does.
        timeout: Seconds in which a worker's batch must come; None: any.
        arguments: Of torch's loader.
    """

    def __init__(
        self,
        sampler: EpochSampler,
        collate: Callable[[Draw], Batch],
        rows_of: Callable[[Requests], NDArray[np.int64]],
        *,
        workers: int = 0,
        timeout: float | None = None,
        **arguments: Any,
    ) -> None:
        self.position, self._rows_of = sampler, rows_of
        self._made_by = Workers(collate, workers, timeout)
        # A generator of its own, so that starting an epoch draws nothing from the global one.
        super().__init__(
            _Draws(),
            sampler=sampler,
            batch_size=None,
            generator=torch.Generator(),
            collate_fn=self._made_by,  # type: ignore[arg-type]
            num_workers=workers,
            timeout=(timeout or 0) if workers else 0,
            worker_init_fn=self._made_by.begin,
            **arguments,
        )
        self.epoch, self.handed_out = 0, 0
        self.waited = 0.0
        """Seconds in which whoever iterates had no batch yet."""
        self._running: list[Any] = []
        """The iterator of PyTorch's that is in use, whose workers end with it."""

    def __iter__(self) -> Any:
        self.position.epoch, self.position.drawn = self.epoch, self.handed_out
        length = len(self.position)
        if self.handed_out >= length:  # saved on the last batch of an epoch: the next one is due
            self.epoch, self.handed_out = self.epoch + 1, 0
            self.position.epoch, self.position.drawn = self.epoch, 0
        running = self._running = [super().__iter__()]
        try:
            while (batch := self._next(running)) is not None:
                self.handed_out += 1
                if self.handed_out == length:
                    self.epoch, self.handed_out = self.epoch + 1, 0
                yield batch
        finally:
            running.clear()

    def _next(self, running: list[Any]) -> Batch | None:
        """The next batch; None behind the last.

        Raises:
            LostProcessError: if its worker was killed or hangs.
            FunnelError: if its worker could not make it.
        """
        begun = time.perf_counter()
        batch: Batch | Failed | None = None
        lost: LostProcessError | None = None
        try:
            batch = self._received(running[0])
        except RuntimeError as error:
            lost = self.lost(error)
            if lost is None:
                raise
        self.waited += time.perf_counter() - begun
        if lost is not None:  # behind the `except`: the error of a dead worker keeps the others alive
            raise lost
        if isinstance(batch, Failed):
            raise self._made_by.raised(batch, self._place(batch.number))
        return batch

    def _received(self, batches: Iterator[Any]) -> Any:
        """The next batch of PyTorch's iterator; None behind the last.

        Raises:
            RuntimeError: PyTorch's, if a worker died; in its words, where the loss of the worker's socket is noticed
                first and PyTorch's own, which a signal brings, is lost in a finaliser.
        """
        try:
            return next(batches, None)
        except UNDERWAY as error:
            told = self._made_by.ended(WORD_OF_DEATH)
            if told is None:
                raise
            raise RuntimeError(told) from error

    def lost(self, error: BaseException) -> LostProcessError | None:
        """What is told of a worker that died; None where the error is about something else. PyTorch raises it wherever
        the training process is at that moment.
        """
        return self._made_by.lost(error, self.handed_out, self._place)

    def close(self) -> None:
        """End the workers."""
        self._running.clear()

    def _place(self, number: int) -> str:
        rows = np.sort(self.position.draw(self.epoch, number).rows_by(self._rows_of))
        shown = ", ".join(map(str, rows[:SHOWN].tolist()))
        more = f", ... {rows[-1]}" if len(rows) > SHOWN else ""
        return f"batch {number + 1} of epoch {self.epoch + 1} (rows {shown}{more} of the log)"

    def state_dict(self) -> dict[str, int]:
        """Epoch and batches handed out in it."""
        return {"epoch": self.epoch, "handed_out": self.handed_out}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on behind the batches of a saved state."""
        self.epoch, self.handed_out = int(state["epoch"]), int(state["handed_out"])


def evaluation_loader(draws: Sequence[Draw], collate: Callable[[Draw], Batch], *, pin_memory: bool) -> DataLoader[Any]:
    """Each draw a batch, once, in order."""
    return DataLoader(
        draws,  # type: ignore[arg-type]
        batch_size=None,
        collate_fn=collate,  # type: ignore[arg-type]
        generator=torch.Generator(),
        pin_memory=pin_memory,
    )
