"""What an audit of fairness is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from funneltune.errors import ConfigError

Mitigation = Literal["none", "exposure", "calibrate", "reweight"]


@dataclass(frozen=True)
class Settings:
    """The columns, the measures and what is tried.

    Args:
        by: Columns whose values are groups: of the items (`seller`), of the shoppers (`user.segment`), or `price_band`.
        rate: Whose calibration and errors are measured (ctr, cvr, ctcvr); empty: the run's first, whose
            events are the most.
        mitigate: none; `exposure`: a constraint while pages are made; `calibrate`: a shift of each group's log odds,
            fitted on validation requests; `reweight`: runs trained with `data.sampling.groups`, against this one.
        smallest: Items (or shoppers) in the test rows that a group needs; smaller ones are pooled.
        draws: Of the intervals, and of groups dealt out anew.
        requests: The split's first so many; None: all.
        seed: Of both kinds of draws.

    Raises:
        ConfigError: if a value is out of range.
    """

    by: Sequence[str] = ()
    rate: str = ""
    mitigate: Mitigation = "none"
    smallest: int = 10
    draws: int = 1000
    requests: int | None = None
    seed: int = 0

    @property
    def most(self) -> int:
        """Groups of their own: with more, no p-value of so many draws could pass Holm's correction."""
        return max(2, int(0.025 * (self.draws + 1)))

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.mitigate not in get_args(Mitigation):
            raise ConfigError(f"mitigate={self.mitigate} must be one of {', '.join(get_args(Mitigation))}.")
        for name, least in (("smallest", 1), ("draws", 100), ("requests", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} must be a whole number, {least} or more.")
        if len(set(self.by)) < len(self.by):
            raise ConfigError(f"by={','.join(self.by)} names a column twice.")
