"""Who bids what: from a file, or as the marketplace's sellers would.

Legend: I items of the log, A advertisers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.decisions.requests import read_frame
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError
from funneltune.marketplace import world_of
from funneltune.marketplace.bids import bids_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
COLUMNS = ("item", "bid", "value", "budget")


@dataclass(frozen=True)
class Market:
    """Bids of each item, and whose they are."""

    bid: Floats
    """(I,) money per event that is paid for; NaN: does not take part."""
    value: Floats
    """(I,) what a purchase is worth to the advertiser; NaN where it is not told."""
    advertiser: Integers
    """(I,) a number of `names`."""
    names: list[str]
    budget: Floats
    """(A,) money for all requests together; infinite: no limit."""

    def with_budget(self, budget: Floats) -> Market:
        """The same bids under other budgets."""
        return replace(self, budget=budget)


def read_market(path: Path, scorer: Scorer, by: str) -> Market:
    """From a file with a row per item: `item`, `bid`, and where they are known `value` (of a purchase) and `budget` (of
    the item's advertiser, the same in each of its rows).

    Raises:
        DataError: naming the first thing that is wrong with it.
        ConfigError: if the log's items have no column `by`.
    """
    frame = read_frame(path, "bids")
    if missing := [name for name in COLUMNS[:2] if name not in frame]:
        raise DataError(
            f"bids={path}: column {missing[0]!r} is missing; it needs item and bid, and takes value, budget."
        )
    if unknown := sorted(set(frame.columns) - set(COLUMNS)):
        raise DataError(f"bids={path}: column {unknown[0]!r} is none of {', '.join(COLUMNS)}.")
    names, advertiser = _advertisers(scorer, by)
    number = _items(path, frame, scorer)
    found = {name: np.full(len(scorer.catalogue), np.nan) for name in ("bid", "value")}
    for name in found:
        if name in frame:
            found[name][number] = _money(path, frame, name)
    budget = np.full(len(names), np.inf)
    if "budget" in frame:
        told = _money(path, frame, "budget")
        for whose, money in zip(advertiser[number], told, strict=True):
            if np.isfinite(budget[whose]) and budget[whose] != money:
                raise DataError(
                    f"bids={path}: {by}={names[whose]} has the budgets {budget[whose]:g} and {money:g}; give it one."
                )
            budget[whose] = np.inf if np.isnan(money) else money
    return Market(found["bid"], found["value"], advertiser, names, budget)


def simulated_market(scorer: Scorer, by: str, pays: str, cvr: float) -> Market:
    """As the sellers of the marketplace would bid, who know their margins but only guess at purchases per click.

    Raises:
        ConfigError: if the run's log is none of the marketplace's: then bids must be given.
    """
    try:
        world = world_of(scorer.folder)
    except ConfigError:
        raise ConfigError(
            f"run={scorer.folder} has a log of a shop whose bids no one knows; give bids=FILE with columns item, bid "
            "(and value, budget where they are known)."
        ) from None
    names, advertiser = _advertisers(scorer, by)
    bids = bids_of(world, cvr)
    bid = bids.per_click if pays == "click" else bids.per_purchase
    return Market(bid, bids.per_purchase, advertiser, names, np.full(len(names), np.inf))


def _advertisers(scorer: Scorer, by: str) -> tuple[list[str], Integers]:
    names, code = np.unique(scorer.catalogue.column(by).astype(str), return_inverse=True)
    return names.tolist(), code.astype(np.int64)


def _items(path: Path, frame: pd.DataFrame, scorer: Scorer) -> Integers:
    keys = frame["item"].astype(str)
    if keys.duplicated().any():
        raise DataError(f"bids={path}: item={keys[keys.duplicated()].iloc[0]} has two rows; give each item one bid.")
    try:
        return np.array([scorer.catalogue.number(key) for key in keys], dtype=np.int64)
    except ConfigError as error:
        raise DataError(f"bids={path}: {error}") from None


def _money(path: Path, frame: pd.DataFrame, name: str) -> Floats:
    """A column of amounts; empty cells are NaN."""
    told = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64)
    wrong = (frame[name].notna().to_numpy() & np.isnan(told)) | (told < 0) | np.isinf(told)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"bids={path}: row {row + 1} has {name}={frame[name].iloc[row]}; it must be money, 0 or more.")
    return told
