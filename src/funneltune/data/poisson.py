"""Poisson draws of the units whose presence a privacy guarantee hides: single impressions, or shoppers with their rows.

Each step holds each unit by itself with the same chance, so that a step says less of a unit than a look at all of them
would (amplification by sampling, Abadi et al. 2016). That needs the draws to stay unknown: their key is no seed of a
config, but drawn from the system, and only checkpoints hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from funneltune.data.sampling import Draw
from funneltune.data.store import ragged_arange
from funneltune.errors import ConfigError

Unit = Literal["impression", "shopper"]
Integers = NDArray[np.int64]
NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class PrivacyUnits:
    """The training rows, unit by unit.

    Args:
        rows: Rows of the log, the units' side by side.
        starts: Where each unit begins in `rows`; the last entry is the end.
        most: Rows of a unit that a step holds at most, drawn anew each time; None: all.
    """

    rows: Integers
    starts: Integers
    most: int | None = None

    @classmethod
    def of_impressions(cls, rows: Integers) -> PrivacyUnits:
        """Each row by itself."""
        return cls(rows, np.arange(len(rows) + 1))

    @classmethod
    def of_shoppers(cls, rows: Integers, shoppers: Integers, most: int | None = None) -> PrivacyUnits:
        """All rows of a shopper together; `shoppers` says whose each row is."""
        order = np.argsort(shoppers, kind="stable")
        changes = np.flatnonzero(np.diff(shoppers[order])) + 1
        return cls(rows[order], np.concatenate([[0], changes, [len(rows)]]), most)

    def __len__(self) -> int:
        """How many units."""
        return len(self.starts) - 1

    @cached_property
    def mean_rows(self) -> float:
        """Rows of a unit that a step holds, on average over the units."""
        sizes = np.diff(self.starts)
        return float((sizes if self.most is None else np.minimum(sizes, self.most)).mean())

    def draw(self, chosen: Integers, random: np.random.Generator) -> tuple[Integers, Integers]:
        """Rows of some units, and for each row the place of its unit among them."""
        sizes = np.diff(self.starts)[chosen]
        rows = self.rows[ragged_arange(self.starts[chosen], sizes)]
        unit = np.repeat(np.arange(len(chosen)), sizes)
        if self.most is None or not len(rows) or sizes.max() <= self.most:
            return rows, unit
        shuffled = np.lexsort((random.random(len(rows)), unit))
        rank = np.arange(len(rows)) - np.repeat(sizes.cumsum() - sizes, sizes)
        kept = np.sort(shuffled[rank < self.most])
        return rows[kept], unit[kept]


@dataclass(frozen=True)
class PoissonPlan:
    """The steps of one epoch, each an independent draw: a function of (key, epoch, step) alone.

    A step of `accumulate` batches holds `rows_per_batch` rows in each, on average; some steps hold none. An epoch has
    as many steps as make each unit come once, on average. Denominators are the *expected* counts of rows, the same for
    every task: a count of the step's own clicks would let a row's gradient depend on the others.

    Args:
        units: Who is drawn.
        rows_per_batch: Rows expected in a batch.
        tasks: Names of the tasks.
        key: Whole numbers that decide the draws.
        epoch: Counted from 0.
        accumulate: Batches per optimizer step.

    Raises:
        ConfigError: if a step would hold more rows than there are.
    """

    units: PrivacyUnits
    rows_per_batch: int
    tasks: Sequence[str]
    key: Sequence[int]
    epoch: int = 0
    accumulate: int = 1

    def __post_init__(self) -> None:
        """A chance is at most 1."""
        if self.sample_rate > 1:
            raise ConfigError(
                f"data.rows_per_batch={self.rows_per_batch} x trainer.accumulate_grad_batches={self.accumulate} must "
                f"be <= {round(len(self.units) * self.units.mean_rows):,}, the training rows that a step can hold; "
                "lower one of them."
            )

    @property
    def expected_rows(self) -> int:
        """Of a step."""
        return self.rows_per_batch * self.accumulate

    @property
    def sample_rate(self) -> float:
        """The chance of each unit to be in a step."""
        return self.expected_rows / (len(self.units) * self.units.mean_rows)

    @property
    def expected_units(self) -> float:
        """Of a step."""
        return self.sample_rate * len(self.units)

    @property
    def steps(self) -> int:
        """Optimizer steps of the epoch."""
        return max(1, round(1 / self.sample_rate))

    def __len__(self) -> int:
        """Batches of the epoch."""
        return self.steps * self.accumulate

    def draws(self, rank: int = 0, skip: int = 0) -> Iterator[Draw]:
        """The batches, after the first `skip` ones; there is one rank."""
        rows = float(self.expected_rows)
        for step in range(skip // self.accumulate, self.steps):
            random = np.random.default_rng((*self.key, self.epoch, step))
            count = random.binomial(len(self.units), self.sample_rate)
            chosen = random.choice(len(self.units), count, replace=False)
            for place, part in enumerate(np.array_split(chosen, self.accumulate)):
                drawn, unit = self.units.draw(part, random)
                if step * self.accumulate + place >= skip:
                    yield Draw(
                        requests=NONE,
                        step_rows=rows,
                        step_observed=dict.fromkeys(self.tasks, rows),
                        epoch=self.epoch,
                        rows=drawn,
                        unit=unit,
                    )
