"""What a measurement is: timed steps of contestants that take turns, and ratios of their medians."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Step:
    """One timed training step (of a peer that accumulates: one micro-batch)."""

    rows: int
    seconds: float
    """From the end of the step before to the end of this one: the loader, forward, backward and optimizer."""
    waited: float = 0.0
    """Of these, seconds before the batch was there."""
    tokens: int = 0
    """Tokens that were encoded, padding left out; 0 where nobody counted."""

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


class Contestant(Protocol):
    """Something that trains, a few steps at a time."""

    def run(self, steps: int) -> list[Step]:
        """Train for so many timed steps, after a step (of an accumulating peer: a micro-batch) that is not timed."""
        ...


Rounds = list[list[Step]]


def alternate(contestants: Mapping[str, Contestant], rounds: int, steps: Mapping[str, int]) -> dict[str, Rounds]:
    """Let the contestants train in turn, so that what else the machine does meets them alike."""
    seen: dict[str, Rounds] = {name: [] for name in contestants}
    for turn in range(rounds):
        names = list(contestants)
        for name in names if turn % 2 == 0 else reversed(names):
            seen[name].append(contestants[name].run(steps[name]))
    return seen


def rate(rounds: Rounds) -> float:
    """Median rows per second over all timed steps."""
    return statistics.median(step.rate for steps in rounds for step in steps)


def median_seconds(rounds: Rounds) -> float:
    """Median seconds of a step."""
    return statistics.median(step.seconds for steps in rounds for step in steps)


def waiting_share(rounds: Rounds) -> float:
    """Seconds of all steps before their batch was there, over all seconds."""
    steps = [step for steps in rounds for step in steps]
    return sum(step.waited for step in steps) / sum(step.seconds for step in steps)


def spread(rounds: Rounds) -> list[float]:
    """The lowest and the highest round's median rate: how far one may trust a ratio."""
    medians = [rate([steps]) for steps in rounds]
    return [min(medians), max(medians)]


def summary(seen: Mapping[str, Rounds], **config: Any) -> dict[str, Any]:
    """What a record keeps of one measurement: its config, medians, and every timed step."""
    return {
        "config": config,
        "rows_per_second": {name: rate(rounds) for name, rounds in seen.items()},
        "rows_per_second_by_round": {name: spread(rounds) for name, rounds in seen.items()},
        "step_seconds": {name: median_seconds(rounds) for name, rounds in seen.items()},
        "steps": {name: [[asdict(step) for step in steps] for steps in rounds] for name, rounds in seen.items()},
    }


def ratio(seen: Mapping[str, Rounds], one: str, other: str) -> float:
    """Median rows per second of `one` over those of `other`."""
    return rate(seen[one]) / rate(seen[other])
