"""What an uplift study is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from funneltune.errors import ConfigError

LEARNERS = ("t", "x", "dr")
BASES = ("linear", "trees")


@dataclass(frozen=True)
class Settings:
    """Checks itself.

    Raises:
        ConfigError: naming the first value that is out of range.
    """

    treatment: str = ""
    """Column of the log that says who was treated how; empty: `treatment`, or the item where the log shows few."""
    arm: str = ""
    """Its value for the treated; empty: each value but the control's."""
    control: str = ""
    """Its value for those left alone; empty: the one that says so."""
    outcome: str = ""
    """A binary task; empty: the run's first."""
    learner: str = "all"
    base: str = "linear"
    margin: float = 1.0
    """Money that an outcome brings."""
    cost: float = 0.0
    """Money that a treatment costs."""
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check."""
        _one_of("learner", self.learner, (*LEARNERS, "all"))
        _one_of("base", self.base, BASES)
        for name in ("margin", "cost"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name}={value:g} must be money, 0 or more.")
        if self.margin == 0:
            raise ConfigError("margin=0 leaves nothing to gain; say what an outcome brings.")
        if not 100 <= self.draws <= 10_000:
            raise ConfigError(f"draws={self.draws} must lie in [100, 10000].")

    @property
    def learners(self) -> tuple[str, ...]:
        """Those that are fitted."""
        return LEARNERS if self.learner == "all" else (self.learner,)


def _one_of(name: str, value: str, words: tuple[str, ...]) -> None:
    if value not in words:
        raise ConfigError(f"{name}={value} must be one of {', '.join(words)}.")
