"""Which rows make which batch: whole requests, an order that is a function of (seed, epoch), exact step counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError, DataError

Requests = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """One batch of one rank: its requests, and the counts of the whole optimizer step it belongs to."""

    requests: Requests
    step_rows: float | None = None
    step_observed: Mapping[str, float] = field(default_factory=dict)
    step_known: Mapping[str, float] = field(default_factory=dict)
    epoch: int = 0
    rows: NDArray[np.int64] | None = None
    """The rows themselves, where units of a privacy guarantee are drawn and not requests."""
    unit: NDArray[np.int64] | None = None
    """For each of these rows, the place of its unit in the batch."""

    def rows_by(self, rows_of: Callable[[Requests], NDArray[np.int64]]) -> NDArray[np.int64]:
        """The batch's rows."""
        return rows_of(self.requests) if self.rows is None else self.rows


class Plan(Protocol):
    """The training batches of one epoch."""

    def __len__(self) -> int:
        """How many."""

    def draws(self, rank: int = 0, skip: int = 0) -> Iterator[Draw]:
        """Those of a rank, after the first `skip` ones."""


@dataclass(frozen=True)
class RequestPlan:
    """The batches of one epoch, known to every rank without communication.

    `rows_per_batch` counts the rows of a batch over *all* ranks: the same config gives the same optimizer steps on any
    number of processes. Requests are taken in the epoch's order until the next would exceed it, or `tokens_per_batch`,
    where that is given; each batch is then cut into one group of requests per rank. A tail with fewer requests than
    ranks joins the batch before it. An optimizer step is `accumulate` batches; an epoch's last one may have fewer.

    Args:
        requests: The split's requests.
        lengths: Rows of each request of the log, by request number.
        observed: Task -> observed rows of each request of the log, by request number.
        known: Task -> rows whose label is final, likewise, of the tasks whose labels come late.
        counted: What each request adds to a step's rows, where that is not its length; batches are sized by lengths.
        rows_per_batch: See above; None: as many as the tokens allow.
        seed: With `epoch`, decides the order.
        epoch: Counted from 0.
        world_size: Number of ranks.
        accumulate: Batches per optimizer step.
        tokens_per_batch: Tokens of the batch's unique texts, over all ranks; None: as many as the rows allow.
        count: The tokens of the first request, the first two, ... of some requests.
    """

    requests: Requests
    lengths: NDArray[np.int64]
    observed: Mapping[str, NDArray[Any]]
    rows_per_batch: int | None
    seed: int
    epoch: int = 0
    world_size: int = 1
    accumulate: int = 1
    tokens_per_batch: int | None = None
    count: Callable[[Requests], NDArray[np.int64]] | None = None
    known: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    counted: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        """Every rank needs at least one request."""
        if self.rows_per_batch is not None and self.rows_per_batch < 1:
            raise ConfigError(f"data.rows_per_batch={self.rows_per_batch} must be >= 1.")
        if self.rows_per_batch is None and self.tokens_per_batch is None:
            raise ConfigError(
                "data.rows_per_batch=null and tokens_per_batch=null leave batches without a size; set one."
            )
        if len(self.requests) < self.world_size:
            raise DataError(
                f"the split has {len(self.requests)} request(s) for {self.world_size} ranks; use fewer devices."
            )

    @cached_property
    def order(self) -> Requests:
        """The epoch's order of requests."""
        return np.random.default_rng((self.seed, self.epoch)).permutation(self.requests)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each batch begins in `order`; the last entry is its end."""
        sizes = self.lengths[self.order]
        ends = sizes.cumsum()
        starts = [0]
        while starts[-1] < len(sizes):
            stop = len(sizes)
            if self.rows_per_batch is not None:
                begun = ends[starts[-1]] - sizes[starts[-1]]
                stop = int(ends.searchsorted(begun + self.rows_per_batch, side="right"))
            if self.tokens_per_batch is not None:
                stop = self._within_tokens(starts, stop)
            starts.append(max(stop, starts[-1] + self.world_size))
        starts[-1] = len(sizes)
        if len(starts) > 2 and starts[-1] - starts[-2] < self.world_size:
            del starts[-2]
        return np.asarray(starts, dtype=np.int64)

    def _within_tokens(self, starts: Sequence[int], stop: int) -> int:
        """Where a batch must end whose rows could go on to `stop`; it is looked as far ahead as the last one went."""
        assert self.count is not None
        assert self.tokens_per_batch is not None
        start, ahead = starts[-1], 2 * (starts[-1] - starts[-2]) if len(starts) > 1 else 16
        while True:
            end = min(start + ahead, stop)
            tokens = self.count(self.order[start:end])
            if end == stop or (len(tokens) and tokens[-1] > self.tokens_per_batch):
                return start + int(tokens.searchsorted(self.tokens_per_batch, side="right"))
            ahead *= 2

    def __len__(self) -> int:
        """Batches of the epoch, alike on every rank."""
        return len(self.starts) - 1

    @property
    def steps(self) -> int:
        """Optimizer steps of the epoch."""
        return -(-len(self) // self.accumulate)

    def draws(self, rank: int = 0, skip: int = 0) -> Iterator[Draw]:
        """The batches of a rank, after the first `skip` ones."""
        rows = self.lengths if self.counted is None else self.counted
        for index in range(skip, len(self)):
            first = index // self.accumulate * self.accumulate
            last = min(first + self.accumulate, len(self))
            step = self.order[self.starts[first] : self.starts[last]]
            batch = self.order[self.starts[index] : self.starts[index + 1]]
            yield Draw(
                requests=balanced(self.lengths[batch], batch, self.world_size)[rank],
                step_rows=float(rows[step].sum()),
                step_observed={task: float(counts[step].sum()) for task, counts in self.observed.items()},
                step_known={task: float(counts[step].sum()) for task, counts in self.known.items()},
                epoch=self.epoch,
            )


def balanced(sizes: NDArray[np.int64], requests: Requests, parts: int) -> list[Requests]:
    """Cut requests into contiguous, non-empty groups of about equally many rows. Needs at least `parts` requests."""
    ends = sizes.cumsum()
    cuts = [0]
    for part in range(1, parts):
        cut = int(np.searchsorted(ends, ends[-1] * part / parts, side="left")) + 1
        cuts.append(min(max(cut, cuts[-1] + 1), len(requests) - (parts - part)))
    cuts.append(len(requests))
    return [requests[a:b] for a, b in pairwise(cuts)]


def evaluation_draws(
    requests: Requests, lengths: NDArray[np.int64], rows_per_batch: int, rank: int = 0, world_size: int = 1
) -> list[Draw]:
    """A rank's share of a split for evaluation: each request on exactly one rank, shares uneven, possibly none."""
    share = np.array_split(requests, world_size)[rank]
    if not len(share):
        return []
    group = (lengths[share].cumsum() - 1) // rows_per_batch
    return [Draw(part) for part in np.split(share, np.flatnonzero(np.diff(group)) + 1)]
