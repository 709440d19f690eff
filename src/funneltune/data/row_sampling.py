"""Drawing rows by their labels: some negatives left out, some positives repeated, and what makes up for it; and rows
that count by their group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from funneltune.data.group_weights import EntityWeights, GroupWeights
from funneltune.data.sampling import Requests
from funneltune.data.store import LogStore
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.marketplace.noise import Stream, uniform
from funneltune.schema import SamplingRates

Correction = Literal["weights", "likelihood", "none"]
KEYS = ("negatives", "positives", "correction", "groups")
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RowSampling:
    """`data.sampling`: training rows drawn by their labels, anew in each epoch.

    A row's expected copies are the product of the rates that it meets: the chance of each task without edges that did
    not happen, the copies of each task that did (all its edges too).

    Args:
        rates: See `SamplingRates`.
        correction: `weights`: a row counts 1 / its expected copies; sums over rows are then unbiased, whatever the
            loss. `likelihood`: rows count alike, and the loss is the likelihood of drawn rows (King and Zeng 2001).
            `none`: neither, a control whose predictions are off.
        groups: What a row counts by its seller, brand or shopper segment, beside all that; None: alike.
    """

    rates: SamplingRates
    correction: Correction = "weights"
    groups: GroupWeights | None = None

    @classmethod
    def parse(cls, node: Any, funnel: TaskFunnel, *, final: bool = True) -> RowSampling | None:
        """`{negatives: {click: 0.25}, positives: {purchase: 3}, correction: weights, groups: {column: item.seller}}`;
        None where no row is drawn unequally and all count alike. `final`: whether all labels are.

        Raises:
            ConfigError: with every fault found.
        """
        if node is None:
            return None
        if not isinstance(node, Mapping) or set(node) - set(KEYS):
            raise ConfigError(f"data.sampling={node!r} must be null or a mapping of {', '.join(KEYS)}.")
        negatives, positives = dict(node.get("negatives") or {}), dict(node.get("positives") or {})
        correction = node.get("correction", "weights")
        faults = [*_negative_faults(negatives, funnel), *_positive_faults(positives, funnel)]
        if correction not in get_args(Correction):
            faults.append(f"data.sampling.correction={correction!r} must be one of {', '.join(get_args(Correction))}")
        if correction == "likelihood" and not final:
            faults.append(
                "data.sampling.correction=likelihood takes labels to be final, and data.observed_until says that some "
                "are not; use weights"
            )
        groups = GroupWeights.parse(node.get("groups"))
        if groups is not None and correction == "likelihood":
            faults.append(
                "data.sampling.correction=likelihood does not go with groups, whose weights are no likelihood"
            )
        if faults:
            raise ConfigError("; ".join(faults) + ".")
        rates = SamplingRates(negatives, positives)
        return cls(rates, correction, groups) if rates or groups is not None else None

    def kept(self, labels: Mapping[str, NDArray[Any]]) -> Floats:
        """The chance of each row to be drawn at all."""
        chance = np.ones(len(next(iter(labels.values()))))
        for task, rate in self.rates.negatives.items():
            chance = np.where(labels[task] == 1, chance, chance * rate)
        return chance

    def repeats(self, labels: Mapping[str, NDArray[Any]], funnel: TaskFunnel) -> Integers:
        """How often each row comes if it is drawn."""
        times = np.ones(len(next(iter(labels.values()))), dtype=np.int64)
        for task, copies in self.rates.positives.items():
            happened = (labels[task] == 1) & funnel.observed(labels, task)
            times = np.where(happened, times * copies, times)
        return times

    def counted(self, labels: Mapping[str, NDArray[Any]], funnel: TaskFunnel) -> Floats:
        """What each row adds to a step's count of rows, in expectation: 1 where weights make up for the drawing."""
        if self.correction == "weights":
            return np.ones(len(next(iter(labels.values()))))
        return self.kept(labels) * self.repeats(labels, funnel)

    def draw(
        self, rows: Integers, labels: Mapping[str, NDArray[Any]], funnel: TaskFunnel, seed: int, epoch: int
    ) -> tuple[Integers, NDArray[np.float32] | None]:
        """The rows that are drawn, copies side by side, and their weights. A function of (seed, epoch, row) alone.

        Where none is drawn the first one stays, with weight 0: a batch has rows.
        """
        chance, times = self.kept(labels), self.repeats(labels, funnel)
        drawn = np.where(uniform(seed, Stream.DRAW, epoch, rows) < chance, times, 0)
        if not drawn.any():
            return rows[:1], np.zeros(1, dtype=np.float32)
        weight = np.repeat(1 / (chance * times), drawn).astype(np.float32)
        return np.repeat(rows, drawn), weight if self.correction == "weights" else None


def weights_of(sampling: RowSampling | None, store: LogStore, train: Requests) -> EntityWeights | None:
    """What training rows count by their group; None: alike. Raises ConfigError if the log has no such column."""
    return None if sampling is None or sampling.groups is None else sampling.groups.of(store, train)


def _negative_faults(rates: Mapping[str, Any], funnel: TaskFunnel) -> list[str]:
    roots = [task.name for task in funnel.binary if not task.given]
    faults = []
    for task, rate in rates.items():
        where = f"data.sampling.negatives.{task}"
        if task not in roots:
            faults.append(f"{where} names no binary task without edges; there are {', '.join(roots) or 'none'}")
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            faults.append(f"{where}={rate!r} must lie in (0, 1], the chance to keep a row without the event")
    return faults


def _positive_faults(copies: Mapping[str, Any], funnel: TaskFunnel) -> list[str]:
    binary = [task.name for task in funnel.binary]
    faults = []
    for task, number in copies.items():
        where = f"data.sampling.positives.{task}"
        if task not in binary:
            faults.append(f"{where} names no binary task; there are {', '.join(binary) or 'none'}")
        if type(number) is not int or number < 1:
            faults.append(f"{where}={number!r} must be a whole number >= 1, of copies of a row with the event")
    return faults
