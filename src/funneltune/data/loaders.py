"""Draws to batches, epoch after epoch, from wherever training stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from funneltune.data.sampling import Draw, RequestPlan
from funneltune.schema import Batch


class _Draws(Dataset[Draw]):
    """A draw is its own index: the sampler hands draws over, `collate_fn` turns one into a batch."""

    def __getitem__(self, draw: Draw) -> Draw:
        return draw


class EpochSampler(Sampler[Draw]):
    """Draws of one rank, epoch after epoch; where it stands is all its state."""

    def __init__(self, plan: Callable[[int], RequestPlan], rank: Callable[[], int]) -> None:
        self.plan, self.rank = plan, rank
        self.epoch = 0
        self.drawn = 0

    def __iter__(self) -> Iterator[Draw]:
        for draw in self.plan(self.epoch).draws(self.rank(), skip=self.drawn):
            self.drawn += 1
            yield draw
        self.epoch, self.drawn = self.epoch + 1, 0

    def __len__(self) -> int:
        return len(self.plan(self.epoch))


class ResumableLoader(DataLoader[Any]):
    """A loader that knows how many batches were *trained on*, and goes on behind them.

    Lightning calls `state_dict` and `load_state_dict` by itself. Prefetching workers run ahead of training, so the
    state counts what was handed out, not what was drawn.
    """

    def __init__(self, sampler: EpochSampler, **arguments: Any) -> None:
        # A generator of its own, so that starting an epoch draws nothing from the global one.
        super().__init__(_Draws(), sampler=sampler, batch_size=None, generator=torch.Generator(), **arguments)
        self.position = sampler
        self.epoch, self.handed_out = 0, 0
        self.waited = 0.0
        """Seconds in which whoever iterates had no batch yet."""

    def __iter__(self) -> Any:
        self.position.epoch, self.position.drawn = self.epoch, self.handed_out
        length = len(self.position)
        if self.handed_out >= length:  # saved on the last batch of an epoch: the next one is due
            self.epoch, self.handed_out = self.epoch + 1, 0
            self.position.epoch, self.position.drawn = self.epoch, 0
        batches = super().__iter__()
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - begun
            if batch is None:
                return
            self.handed_out += 1
            if self.handed_out == length:
                self.epoch, self.handed_out = self.epoch + 1, 0
            yield batch

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
