"""What shoppers did before: the items on which an event happened, by shopper, in the order of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.data.store import DELAY, LogStore, ragged_arange
from funneltune.errors import ConfigError

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Past:
    """Events of the log's first binary task (clicks, say), sorted by (shopper, time at which they had come)."""

    user: Integers
    come: NDArray[np.float64]
    """Unix seconds."""
    item: Integers

    @classmethod
    def of(cls, store: LogStore, known: NDArray[np.bool_]) -> Past:
        """The events among the rows that are known; of a task with a window, an event comes when its delay is over.

        Raises:
            ConfigError: if the log has no binary task, or tells no time.
        """
        if not store.funnel.binary:
            raise ConfigError("features.history collects what a binary task was true of; data.tasks has none.")
        if not store.has("time"):
            raise ConfigError(
                "features.history needs the time of each request; map data.source.time, or set history=0."
            )
        first = store.funnel.binary[0].name
        rows = np.flatnonzero((store.column(first) == 1) & known)
        user, come = store.column("user")[rows], store.column("time")[rows]
        if (window := store.funnel[first].window) is not None:  # the past is what had come by then
            delay = store.column(f"{DELAY}{first}")[rows] if store.has(f"{DELAY}{first}") else window
            come = come + 86_400.0 * delay
        order = np.lexsort((come, user))
        return cls(user[order], come[order], store.column("item")[rows[order]].astype(np.int64))

    def __len__(self) -> int:
        """How many events."""
        return len(self.user)

    def before(self, user: Integers, time: NDArray[np.float64], most: int) -> Integers:
        """(n, most): the items of each shopper's events strictly before a time, the latest first, -1 behind the last.

        A shopper of number -1 has no past.
        """
        begin = np.searchsorted(self.user, user)
        # Events and askers sorted together by (shopper, time); at equal times askers come first, so that nothing of the
        # same moment counts as the past. The events before an asker are then a running count.
        kind = np.r_[np.ones(len(self), np.int8), np.zeros(len(user), np.int8)]
        rank = np.lexsort((kind, np.r_[self.come, time], np.r_[self.user, user]))
        so_far = np.cumsum(kind[rank] == 1)
        end = np.empty(len(user), dtype=np.int64)
        end[rank[kind[rank] == 0] - len(self)] = so_far[kind[rank] == 0]
        count = np.minimum(end - begin, most)
        found = np.full((len(user), most), -1, dtype=np.int64)
        place = ragged_arange(np.zeros(len(count), np.int64), count)
        found[np.repeat(np.arange(len(user)), count), place] = self.item[np.repeat(end, count) - 1 - place]
        return found
