"""What an explanation says, as plain values: for the page, for a server, for a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from funneltune.decisions.explanations.sentence import sentence


@dataclass(frozen=True)
class Word:
    """A word of the query or of the item's text."""

    text: str
    role: str
    """`query` or `item`."""
    start: int
    stop: int
    """Its characters in that text."""
    push: float
    """What it adds to the explained value."""
    read: bool
    """False of a word behind the longest text that the run reads."""


@dataclass(frozen=True)
class Pushing:
    """An input beside the texts."""

    name: str
    kind: str
    """`id`, `number`, `vector` or `event` (an item that the shopper clicked before)."""
    value: str
    push: float


@dataclass(frozen=True)
class Completeness:
    """From nothing to the row: what the pushes add up to, and how exactly."""

    scale: str
    """`logit` or `log-probability`."""
    value: float
    """Of the row, before calibration."""
    baseline: float
    """With every input absent."""
    steps: int
    gap: float
    """Sum of all pushes, less value - baseline."""
    tolerance: float
    complete: bool
    """Whether the gap is within the tolerance."""
    absent: tuple[str, ...]
    """What stands for absence."""


@dataclass(frozen=True)
class Neighbour:
    """A training impression."""

    similarity: float
    query: str
    item: str
    title: str
    happened: Mapping[str, bool]
    """Task -> whether it happened, with all that it is conditional on."""


@dataclass(frozen=True)
class Evidence:
    """What happened on the training impressions that are nearest to this one."""

    measure: str
    """What near means."""
    nearest: tuple[Neighbour, ...]
    near: Mapping[str, tuple[int, int]]
    """Rate -> on how many of the nearest impressions it happened, and of how many (of a conditional rate those on which
    it could)."""
    everywhere: Mapping[str, tuple[int, int]]
    """Likewise of all training impressions, or of a sample of them that is spread evenly."""


@dataclass(frozen=True)
class Change:
    """One thing changed, all else as it is."""

    what: str
    before: str
    after: str
    p: float
    """The calibrated probability then."""
    difference: float
    """Less what it is without the change."""
    asked: bool = False
    """Whether the user asked for it; the others are made up."""


@dataclass(frozen=True)
class Explanation:
    """Why a run gives an item its probability for a request."""

    run: str
    rate: str
    events: Mapping[str, str]
    """Rate -> what it is the probability of: `click`, `purchase given click`, `click and purchase`."""
    query: str
    user: str
    item: str
    """The log's identifier."""
    title: str
    """The item's text, as the run reads it."""
    p: Mapping[str, float]
    """Rate -> calibrated probability."""
    completeness: Completeness
    words: tuple[Word, ...]
    features: tuple[Pushing, ...]
    evidence: Evidence
    changes: tuple[Change, ...]

    @property
    def event(self) -> str:
        """What the explained rate is the probability of."""
        return self.events[self.rate]

    @property
    def sentence(self) -> str:
        """What it comes to, in plain words."""
        return sentence(self)

    def to_json(self) -> dict[str, Any]:
        """Plain values, which JSON holds as they are."""
        return {"sentence": self.sentence, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Explanation:
        """The inverse of `to_json`."""
        told = {key: value for key, value in content.items() if key != "sentence"}
        evidence = dict(told["evidence"])
        evidence["nearest"] = tuple(Neighbour(**one) for one in evidence["nearest"])
        for name in ("near", "everywhere"):
            evidence[name] = {rate: (int(n), int(of)) for rate, (n, of) in evidence[name].items()}
        path = dict(told["completeness"])
        path["absent"] = tuple(path["absent"])
        return cls(
            **{
                **told,
                "completeness": Completeness(**path),
                "words": tuple(Word(**one) for one in told["words"]),
                "features": tuple(Pushing(**one) for one in told["features"]),
                "evidence": Evidence(**evidence),
                "changes": tuple(Change(**one) for one in told["changes"]),
            }
        )

    @property
    def pushes(self) -> float:
        """The sum of all pushes, special tokens' included (these are never absent, so that they push nothing)."""
        return math.fsum([*(word.push for word in self.words), *(one.push for one in self.features)])
