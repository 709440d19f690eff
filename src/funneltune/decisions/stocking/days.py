"""A log as daily series: impressions, purchases and what a run expects, of each item or group of items.

Legend: S series, T days of the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.decisions.items import Items
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.marketplace.daily import Chances

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SEASON = 7
WINDOW = 28
"""Days before a forecast whose rows tell a run's mean rate of each item."""
FEWEST_PAST, FEWEST_HELD_OUT = 2 * SEASON, 2
MOST_CELLS = 50_000_000
ITEM, NONE = "item", "(none)"
KEY, PRICE = "key", "price"


@dataclass(frozen=True)
class Span:
    """Whole days of the log, by their places in it."""

    start: int
    stop: int

    def __len__(self) -> int:
        """Days."""
        return self.stop - self.start

    @property
    def days(self) -> slice:
        """To index (S, T) with."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Daily:
    """A log day by day; arrays are (S, T)."""

    names: list[str]
    group: Integers
    """(items,): the series of each item; -1 of one that the log never showed."""
    first: int
    """The log's first day, since 1 January 1970, UTC."""
    shown: Floats
    bought: Floats
    expected: Floats
    """Sums of the run's p(click and purchase); 0 on the days before `scored`."""
    squares: Floats
    """Sums of its squares."""
    scored: int
    validation: Span
    test: Span
    task: str
    request: Integers
    """The log's number of each of its requests, ascending."""
    day_of_request: Integers
    """Their places in the log."""

    @property
    def days(self) -> int:
        """T."""
        return int(self.shown.shape[1])

    def requests(self, span: Span) -> Integers:
        """The log's numbers of the requests of some days."""
        return self.request[(self.day_of_request >= span.start) & (self.day_of_request < span.stop)]

    def date(self, day: int) -> str:
        """ISO date of a place in the log, or behind its end."""
        return datetime.fromtimestamp((self.first + day) * 86_400, UTC).date().isoformat()

    def summed(self, truth: Chances, of: NDArray[np.float64], span: Span) -> Floats:
        """(S, days of the span) sums of a value per impression."""
        day = truth.day - self.first
        rows = (day >= span.start) & (day < span.stop)
        return _sums(self.group[truth.item[rows]], day[rows] - span.start, of[rows], len(self.names), len(span))


def read_days(scorer: Scorer, by: str = ITEM) -> Daily:
    """Count the run's log day by day (UTC), and sum what the run expects from `WINDOW` days before validation on.

    `by`: item, or a column of the items.

    Raises:
        ConfigError: if the run predicts no purchase, the log tells no time or is not cut by it, there are too few whole
            days, the column groups nothing, or there are too many series.
    """
    data, store = scorer.assembly.data, scorer.assembly.data.store
    task = _purchase(scorer)
    if not store.has("time"):
        raise ConfigError(
            f"run={scorer.folder}: its log has no time, so that it has no days; name the column (data.source.time)."
        )
    if data.split.by != "time":
        raise ConfigError(
            f"run={scorer.folder} has data.split.by={data.split.by}; days are held out by time alone: train with "
            "data.split.by=time."
        )
    rows = np.arange(store.n_rows)
    day = np.floor(np.asarray(store.column("time"), dtype=np.float64) / 86_400).astype(np.int64)
    first = int(day.min())
    day -= first
    total = int(day.max()) + 1
    split_of = {split: day[data.rows(split)] for split in ("train", "validation", "test")}
    validation, test = _spans({split: (int(of.min()), int(of.max())) for split, of in split_of.items()})
    _require_days(validation, test)
    names, group = _series(scorer, by, total)
    of_row = group[store.column("item")]
    labels = {name: store.column(name) for name in data.funnel.names}
    sold = data.funnel.observed(labels, task) & (np.asarray(labels[task]) == 1)
    scored = max(0, validation.start - WINDOW)
    recent = rows[day >= scored]
    p = scores(scorer, recent, task)
    size = (len(names), total)
    number, at = np.unique(np.asarray(store.column("request")).astype(np.int64), return_index=True)
    return Daily(
        names=names,
        group=group,
        first=first,
        shown=_sums(of_row, day, np.ones(len(day)), *size),
        bought=_sums(of_row, day, sold.astype(np.float64), *size),
        expected=_sums(of_row[recent], day[recent], p, *size),
        squares=_sums(of_row[recent], day[recent], p**2, *size),
        scored=scored,
        validation=validation,
        test=test,
        task=task,
        request=number,
        day_of_request=day[at],
    )


@torch.inference_mode()
def scores(scorer: Scorer, rows: Integers, task: str) -> Floats:
    """The run's calibrated p(task and all before it) of rows of its log."""
    of = scorer.funnel[task]
    rate, module = of.joint_rate if of.given else of.rate, scorer.module
    found = [
        scorer.calibrated(module.score(batch, module.encoder.views(batch.texts)))[rate]
        for _, batch in scorer.assembly.data.batches(rows)
    ]
    scorer.assembly.data.store.release()
    return np.concatenate(found)


def _purchase(scorer: Scorer) -> str:
    binary = scorer.funnel.binary
    named = [task.name for task in binary if task.name == "purchase"]
    conditional = [task.name for task in binary if task.given]
    if not named and not conditional:
        raise ConfigError(
            f"run={scorer.folder} predicts no purchase (its tasks: {', '.join(scorer.funnel.names)}); train with a "
            "task purchase, given a click or alone."
        )
    return (named or conditional)[-1]


def _spans(ends: dict[str, tuple[int, int]]) -> tuple[Span, Span]:
    """The whole days of validation and test: a day that two splits share is neither's."""
    starts = {
        split: ends[split][0] + (ends[split][0] == ends[before][1])
        for split, before in (("validation", "train"), ("test", "validation"))
    }
    return (
        Span(starts["validation"], max(starts["validation"], ends["test"][0])),
        Span(starts["test"], ends["test"][1] + 1),
    )


def _require_days(validation: Span, test: Span) -> None:
    if validation.start < FEWEST_PAST:
        raise ConfigError(
            f"the log has {validation.start} days before its validation days; weekly seasons take {FEWEST_PAST} or "
            "more: give a longer log, or lower data.split.validation and data.split.test."
        )
    for split, span in (("validation", validation), ("test", test)):
        if len(span) < FEWEST_HELD_OUT:
            raise ConfigError(
                f"data.split.{split} has too few whole days: {len(span)}; it takes {FEWEST_HELD_OUT} or more: raise "
                f"data.split.{split} or give a longer log."
            )


def _series(scorer: Scorer, by: str, days: int) -> tuple[list[str], Integers]:
    """Names of the series that the log showed, and each item's (-1: never shown)."""
    catalogue, store = scorer.catalogue, scorer.assembly.data.store
    words = catalogue.keys if by == ITEM else [NONE if one is None else str(one) for one in _grouping(catalogue, by)]
    shown = np.zeros(len(words), dtype=bool)
    shown[np.unique(store.column("item"))] = True
    names, group = np.unique(np.asarray(words, dtype=object)[shown].astype(str), return_inverse=True)
    if len(names) * days > MOST_CELLS:
        raise ConfigError(
            f"by={by} makes {len(names):,} series of {days} days, more than {MOST_CELLS:,} numbers; choose a coarser "
            "column, as by=category."
        )
    found = np.full(len(words), -1, dtype=np.int64)
    found[shown] = group
    return [str(name) for name in names], found


def _grouping(catalogue: Items, by: str) -> NDArray[Any]:
    """A column whose values are shared by items.

    Raises:
        ConfigError: naming those that are.
    """
    columns = {name: catalogue.column(name) for name in catalogue.columns if name not in (KEY, PRICE)}
    known = [name for name, values in columns.items() if _groups(values)]
    if by not in known:
        raise ConfigError(
            f"by={by} must be one of {', '.join((ITEM, *known))}: item, or a column of the items whose values (words, "
            "or codes that repeat) several of them share."
        )
    return columns[by]


def _groups(values: NDArray[Any]) -> bool:
    """Words that some items share, or whole numbers that most do: others are measures, as a rating is."""
    told = [value for value in values if value is not None]
    if all(isinstance(value, str) for value in told):
        return len(set(told)) < len(values)
    return all(isinstance(value, int) for value in told) and 2 * len(set(told)) <= len(values)


def _sums(series: Integers, day: Integers, value: Floats, n: int, days: int) -> Floats:
    flat = np.bincount(series * days + day, weights=value, minlength=n * days)
    return np.asarray(flat.reshape(n, days), dtype=np.float64)
