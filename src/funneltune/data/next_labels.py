"""Labels of what comes next: the category of a shopper's next purchase, told by the log's own future.

A label is cut where its split ends: what a shopper buys in the test's days is no label of a training row.

Legend: E events, n askers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.data.requests import OBSERVED
from funneltune.data.splits import Requests, Split, shared
from funneltune.data.store import DELAY, LogStore
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import UNKNOWN, Task, TaskFunnel

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
DAY = 86_400.0
TOLD = 5
"""Values that a message names."""


@dataclass(frozen=True)
class Events:
    """What happened, in no order; arrays are (E,)."""

    user: Integers
    time: Floats
    """Unix seconds at which it had come."""
    item: Integers

    @classmethod
    def of(cls, store: LogStore, task: str, rows: Integers) -> Events:
        """Where a binary task was true of some rows; of one with a window, when its delay was over."""
        rows = rows[store.column(task)[rows] == 1]
        time = store.column("time")[rows].astype(np.float64)
        if store.has(f"{DELAY}{task}"):
            time = time + DAY * store.column(f"{DELAY}{task}")[rows]
        elif (window := store.funnel[task].window) is not None:
            time = time + DAY * window
        return cls(store.column("user")[rows].astype(np.int64), time, store.column("item")[rows].astype(np.int64))

    def among(self, rows: NDArray[np.bool_]) -> Events:
        """Some of them."""
        return Events(self.user[rows], self.time[rows], self.item[rows])

    def next_items(self, user: Integers, time: Floats) -> Integers:
        """(n,) the item of each asker's first event at or after a time; -1: there is none."""
        order = np.lexsort((self.time, self.user))
        # Events and askers sorted together by (shopper, time); at equal times askers come first, so that an event of
        # the same moment is the next one. The next event's place is then the count of events before the asker.
        kind = np.r_[np.ones(len(self.user), np.int8), np.zeros(len(user), np.int8)]
        rank = np.lexsort((kind, np.r_[self.time, time], np.r_[self.user, user]))
        so_far = np.cumsum(kind[rank] == 1)
        place = np.empty(len(user), dtype=np.int64)
        place[rank[kind[rank] == 0] - len(self.user)] = so_far[kind[rank] == 0]
        there = np.flatnonzero(place < len(order))
        event = order[place[there]]
        own = self.user[event] == user[there]
        found = np.full(len(user), -1, dtype=np.int64)
        found[there[own]] = self.item[event[own]]
        return found


def next_items(store: LogStore, event: str, requests: Requests) -> Integers:
    """(requests,) the item of the shopper's next event from each request on, its own included, among those of the same
    requests that had come by the time of the last one; -1 where none had.
    """
    first = store.request_offsets[requests]
    user, time = store.column("user")[first].astype(np.int64), store.column("time")[first].astype(np.float64)
    events = Events.of(store, event, store.rows_of(requests))
    return events.among(events.time <= time.max(initial=-np.inf)).next_items(user, time)


def cut_log(store: LogStore, funnel: TaskFunnel, split: Split, train_share: float, seed: int) -> dict[str, Requests]:
    """The requests of each split, of the training's a share; labels of what comes next are those of the whole split.

    Raises:
        ConfigError, DataError: as `Split.cut` and `add_next_labels` do.
    """
    found = split.cut(store)
    if funnel.following:
        add_next_labels(store, funnel, found)
    if train_share < 1:
        found["train"] = shared(found["train"], train_share, seed)
    return found


def add_next_labels(store: LogStore, funnel: TaskFunnel, splits: Mapping[str, Requests]) -> None:
    """Give a store the labels of the funnel's tasks of what comes next, split by split; requests of none have none, and
    a log without splits, which is only predicted, needs to tell nothing.

    Raises:
        ConfigError: if the log tells no shopper or time, or items have no such column, or levels are missing.
        DataError: if no training request has a label.
    """
    labels: dict[str, NDArray[np.int16]] = {}
    event = funnel.binary[-1].name
    for task in funnel.following:
        of_request = np.full(store.n_requests, UNKNOWN, dtype=np.int16)
        level = _levels_of_items(store, task) if splits else of_request
        for requests in splits.values():
            item = next_items(store, event, requests)
            of_request[requests] = np.where(item >= 0, level[item], UNKNOWN)
        if splits and not (of_request[splits["train"]] != UNKNOWN).any():
            raise DataError(
                f"data.tasks.{task.name}: no training request has a later {event} of the same shopper, so that nothing "
                "comes next; use a longer log, or leave the task out."
            )
        labels[task.name] = np.repeat(of_request, store.request_lengths)
    store.derive(funnel, labels, {f"{OBSERVED}{name}": _counted(store, label) for name, label in labels.items()})


def _levels_of_items(store: LogStore, task: Task) -> NDArray[np.int16]:
    """(items,) the number of each item's level."""
    where = f"data.tasks.{task.name}.next={task.next}"
    if store.table("users").num_rows < 2 or not store.has("time"):
        raise ConfigError(
            f"{where} is told by what a shopper does later, and the log has no "
            f"{'times' if not store.has('time') else 'shoppers'}; map data.source.user and data.source.time."
        )
    table = store.table("items")
    if task.next not in table.column_names:
        there = ", ".join(name for name in table.column_names if name != "key")
        raise ConfigError(f"{where} is no column of the log's items; choose one of {there}.")
    values, place = np.unique([str(value) for value in table.column(task.next).to_pylist()], return_inverse=True)
    number = {level: k for k, level in enumerate(task.levels)}
    if missing := [value for value in values.tolist() if value not in number]:
        more = f" and {len(missing) - TOLD} more" if len(missing) > TOLD else ""
        raise ConfigError(
            f"data.tasks.{task.name}.levels lacks {', '.join(missing[:TOLD])}{more}; list all {len(values)} values of "
            f"the items' {task.next}: [{', '.join(values.tolist())}]."
        )
    return np.array([number[value] for value in values.tolist()], dtype=np.int16)[place]


def _counted(store: LogStore, label: NDArray[np.int16]) -> NDArray[np.int32]:
    """(requests,) the rows whose label is known."""
    known = label[store.request_offsets[:-1]] != UNKNOWN
    return np.where(known, store.request_lengths, 0).astype(np.int32)
