"""A log as moments: who came when, what was bought next, and what each had done by then.

Legend: n moments, E events, C categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from funneltune.data.next_labels import DAY, Events, next_items
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MOST_CATEGORIES = 200
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Moments:
    """Requests of one split whose shopper bought something from then on, before the split ended; arrays are (n,)."""

    request: Integers
    """Numbers in the log."""
    user: Integers
    time: Floats
    need: Integers
    """The category of the next purchase."""
    item: Integers
    """The item of it."""

    def __len__(self) -> int:
        """N."""
        return len(self.request)

    def among(self, places: Integers) -> Moments:
        """Some of them."""
        return Moments(*(getattr(self, name)[places] for name in ("request", "user", "time", "need", "item")))

    def with_need(self, need: Integers) -> Moments:
        """The same under other labels."""
        return replace(self, need=need)


@dataclass(frozen=True)
class Log:
    """What `need` reads of a run's log."""

    names: list[str]
    """(C,) categories."""
    category: Integers
    """(items,) a number of `names`."""
    event: str
    """What counts as buying: the funnel's last binary task."""
    bought: Events
    clicked: Events
    """The funnel's first binary task."""
    searched: Events
    """`item` is the number of the query."""
    end: float
    """The log's last moment."""


def read_log(scorer: Scorer, column: str = "category") -> Log:
    """The events of a run's log that may be remembered, by the items' `column`.

    Raises:
        ConfigError: if the log tells no shopper, no time or no such column, or it has one value or too many.
    """
    data, store = scorer.assembly.data, scorer.assembly.data.store
    if store.table("users").num_rows < 2:
        raise ConfigError(f"run={scorer.folder} has a log without shoppers; need is told by what a shopper did before.")
    if not store.has("time"):
        raise ConfigError(
            f"run={scorer.folder} has a log without times, so that nothing comes next; map data.source.time and train "
            "again."
        )
    if column not in scorer.catalogue.columns:
        there = ", ".join(name for name in scorer.catalogue.columns if name != "key")
        raise ConfigError(f"category={column} is no column of the log's items; choose one of {there}.")
    names, code = np.unique([str(value) for value in scorer.catalogue.column(column)], return_inverse=True)
    if not 2 <= len(names) <= MOST_CATEGORIES:
        raise ConfigError(
            f"category={column} has {len(names):,} values; a need is one of 2 to {MOST_CATEGORIES}: choose another "
            "column of the items."
        )
    known = np.flatnonzero(data.remembered)
    first, last = scorer.funnel.binary[0].name, scorer.funnel.binary[-1].name
    requests = np.unique(store.requests_of(known))
    rows = store.request_offsets[requests]
    searches = Events(
        store.column("user")[rows].astype(np.int64),
        store.column("time")[rows].astype(np.float64),
        store.column("query")[rows].astype(np.int64),
    )
    return Log(
        names=names.tolist(),
        category=code.astype(np.int64),
        event=last,
        bought=Events.of(store, last, known),
        clicked=Events.of(store, first, known),
        searched=searches,
        end=scorer.rows.last_time,
    )


def moments(scorer: Scorer, log: Log, split: str) -> Moments:
    """Each request of a split with its shopper's next purchase, its own included, that came before the split's last
    request: no label of a split lies in another one's days.
    """
    requests, user, time = visits(scorer, split)
    item = next_items(scorer.assembly.data.store, log.event, requests)
    there = np.flatnonzero(item >= 0)
    item = item[there]
    return Moments(requests[there], user[there], time[there], log.category[item], item)


def visits(scorer: Scorer, split: str, most: int | None = None) -> tuple[Integers, Integers, Floats]:
    """A split's requests, the first so many: their numbers, shoppers and times."""
    store = scorer.assembly.data.store
    requests = np.sort(scorer.assembly.data.requests(split))[:most]
    rows = store.request_offsets[requests]
    return requests, store.column("user")[rows].astype(np.int64), store.column("time")[rows].astype(np.float64)


def require_enough(found: dict[str, Moments], categories: int, event: str) -> None:
    """Refuse to fit what a few purchases cannot tell.

    Raises:
        DataError: naming the split that has too few.
    """
    for split, least in zip(SPLITS, (max(50, categories), 20, 20), strict=True):
        if len(found[split]) < least:
            raise DataError(
                f"{split} has {len(found[split])} requests with a later {event} of the same shopper; {least} are "
                "needed to fit and judge a need. Use a longer log, larger shares, or a coarser category."
            )


def counts_before(
    events: Events, weight: Floats, user: Integers, time: Floats, half_life: float = float("inf")
) -> Floats:
    """(n, C): the sum of `weight` (E, C) over each shopper's events strictly before a time.

    An event weighs 2 ** -(days since / half_life).
    """
    found = np.zeros((len(user), weight.shape[1]))
    kind = np.r_[np.ones(len(events.user), np.int8), np.zeros(len(user), np.int8)]
    # at equal times askers come first: nothing of the same moment counts as the past
    order = np.lexsort((kind, np.r_[events.time, time], np.r_[events.user, user]))
    so_far, of, at = np.zeros(weight.shape[1]), -1, 0.0
    for one in order:
        is_event = kind[one] == 1
        place = one if is_event else one - len(events.user)
        whose, when = (events.user[place], events.time[place]) if is_event else (user[place], time[place])
        if whose != of:
            so_far, of = np.zeros(weight.shape[1]), whose
        elif when > at:
            so_far = so_far * 2.0 ** (-(when - at) / DAY / half_life)
        at = when
        if is_event:
            so_far = so_far + weight[place]
        else:
            found[place] = so_far
    return found


def one_hot(numbers: Sequence[int] | Integers, width: int) -> Floats:
    """(E, C)."""
    return np.eye(width)[np.asarray(numbers, dtype=np.int64)]
