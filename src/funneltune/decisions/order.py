"""What candidates are worth, and the page that a greedy choice makes of them. NumPy only.

Legend: C candidates, which come by item number: of equal ones the first is chosen, so a page is the same every time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.diversity import Likeness
from funneltune.decisions.exposure import Shares
from funneltune.errors import ConfigError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
REVENUE = "revenue"
MOST_WEIGHT = 1e9
"""Larger weights of a sum could leave what a number can be."""
_TERM = re.compile(r"\s*(?:(?P<weight>[\d.]+(?:[eE][+-]?\d+)?)\s*\*\s*)?(?P<name>[A-Za-z_][\w.]*)\s*")


@dataclass(frozen=True)
class Worth:
    """What a candidate is worth: a weighted sum of rates and of `revenue`, which is price x p(click and purchase)."""

    weights: Mapping[str, float]
    joint: str
    """The rate that revenue counts: the joint one of the funnel's last task."""

    @classmethod
    def parse(cls, by: str, rates: Sequence[str]) -> Worth:
        """From words: `ctcvr`, `revenue`, `0.2*ctr + 0.8*ctcvr`; an empty text is the last rate.

        Raises:
            ConfigError: if a term is no rate of the run nor revenue, or a weight no number above 0.
        """
        weights: dict[str, float] = {}
        for term in (by or rates[-1]).split("+"):
            found = _TERM.fullmatch(term)
            if found is None:
                raise ConfigError(
                    f"by={by!r} cannot be read at {term.strip()!r}; write a rate, or weights: 0.2*ctr + 0.8*ctcvr."
                )
            name = found["name"]
            if name not in (*rates, REVENUE):
                near = get_close_matches(name, (*rates, REVENUE), 1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise ConfigError(f"by={name!r} must be one of {', '.join(rates)} or {REVENUE}{hint}")
            weights[name] = weights.get(name, 0.0) + cls._weight(by, found["weight"])
        return cls(weights, rates[-1])

    @staticmethod
    def _weight(by: str, text: str | None) -> float:
        try:
            weight = float(text or 1.0)
        except ValueError:
            weight = math.nan
        if not 0 < weight <= MOST_WEIGHT:
            raise ConfigError(f"by={by!r} has the weight {text}; weights must be numbers above 0, to {MOST_WEIGHT:g}.")
        return weight

    def of(self, p: Mapping[str, Floats], price: Floats | None) -> Floats:
        """(C,) from rate -> probabilities and the price of each candidate.

        Raises:
            ConfigError: if revenue is asked for and a price is not known.
        """
        value = np.zeros(len(p[self.joint]))
        for name, weight in self.weights.items():
            if name != REVENUE:
                value += weight * p[name]
                continue
            if price is None or not np.isfinite(price).all():
                raise ConfigError(
                    "by=revenue needs the price of every candidate, and the log has "
                    f"{'none' if price is None else 'items without one'}; rank by {self.joint}, or give the log a "
                    "price column (data.source.price)."
                )
            value += weight * price * p[self.joint]
        return value


@dataclass(frozen=True)
class Limit:
    """At most `most` items of a kind on a page."""

    column: str
    kind: Integers
    """(C,) a number for each value of the column."""
    most: int


@dataclass(frozen=True)
class Page:
    """Candidates in their places."""

    chosen: Integers
    """Their numbers among the candidates, the first place first."""
    why: tuple[str, ...]
    """For each place, the rule that gave it to another than the best that was left; empty where it is that one."""


@dataclass
class _Counts:
    """What the page holds so far."""

    taken: NDArray[np.bool_]
    of_kind: list[Integers]
    shown: Integers
    may_rise: NDArray[np.bool_]
    """(C,) what MMR chooses among."""
    nearest: Floats | None = None
    chosen: list[int] = field(default_factory=list)
    why: list[str] = field(default_factory=list)


def fill(
    value: Floats,
    top: int,
    *,
    likeness: Likeness | None = None,
    weight: float = 1.0,
    pool: int | None = None,
    limits: Sequence[Limit] = (),
    shares: Shares | None = None,
    pinned: Mapping[int, int] | None = None,
) -> Page:
    """A page of at most `top` places, place by place.

    Each place goes to the candidate with the most of

        weight * value / max value - (1 - weight) * max likeness to what stands above

    (maximal marginal relevance, Carbonell and Goldstein 1998, with values relative to the best, so that one weight
    suits every request) among those whose kind is not on the page too often already and whose group the place is open
    to. Without likeness, limits, shares and pins it is the order by value. A page ends early where the limits leave
    nothing to choose.

    Args:
        value: (C,), none below 0; a higher one is better.
        top: Places.
        likeness: Of the candidates.
        weight: MMR's lambda, 1: value alone.
        pool: MMR chooses among the best so many by value while one of them is left; None: among all.
        limits: At most so many of a kind.
        shares: Groups and what they are due.
        pinned: Place (from 1) -> candidate. A page too short for a pin's place shows it last.
    """
    pins = dict(pinned or {})
    most = float(value.max()) if len(value) else 0.0
    relevance = value / most if most > 0 else np.zeros(len(value))
    groups = 0 if shares is None else len(shares.share)
    counts = _Counts(
        taken=np.zeros(len(value), dtype=bool),
        of_kind=[np.zeros(int(limit.kind.max(initial=-1)) + 1, dtype=np.int64) for limit in limits],
        shown=np.zeros(groups, dtype=np.int64),
        may_rise=np.ones(len(value), dtype=bool),
    )
    if pool is not None:
        counts.may_rise[np.argsort(-value, kind="stable")[pool:]] = False
    counts.taken[list(pins.values())] = True
    while len(counts.chosen) < top:
        place = len(counts.chosen) + 1
        if place in pins:
            _put(counts, pins.pop(place), "pinned", likeness, limits, shares)
            continue
        found = _best(counts, place, relevance, weight, limits, shares)
        if found is not None:
            _put(counts, *found, likeness, limits, shares)
        elif pins:
            _put(counts, pins.pop(min(pins)), "pinned", likeness, limits, shares)
        else:
            break
    return Page(np.array(counts.chosen, dtype=np.int64), tuple(counts.why))


def _best(
    counts: _Counts,
    place: int,
    relevance: Floats,
    weight: float,
    limits: Sequence[Limit],
    shares: Shares | None,
) -> tuple[int, str] | None:
    """The candidate for a place and the rules that made it this one."""
    free = ~counts.taken
    within = free.copy()
    for limit, seen in zip(limits, counts.of_kind, strict=True):
        within &= (seen < limit.most)[limit.kind]
    if not within.any():
        return None
    open_ = within if shares is None else shares.open(place, counts.shown, within)
    reasons = []
    by_value = _first(relevance, free)
    if not within[by_value]:
        full = [
            limit.column
            for limit, seen in zip(limits, counts.of_kind, strict=True)
            if seen[limit.kind[by_value]] >= limit.most
        ]
        reasons.append(f"at most: {', '.join(full)}")
    if not open_[_first(relevance, within)]:
        reasons.append("exposure")
    best = _first(relevance, open_)
    if counts.nearest is not None and weight < 1.0:
        among = open_ & counts.may_rise
        chosen = _first(weight * relevance - (1.0 - weight) * counts.nearest, among if among.any() else open_)
        if chosen != best:
            reasons.append("diversity")
        best = chosen
    return best, "; ".join(reasons)


def _first(score: Floats, among: NDArray[np.bool_]) -> int:
    """The candidate of the highest score, of equal ones the first."""
    return int(np.argmax(np.where(among, score, -np.inf)))


def _put(
    counts: _Counts,
    candidate: int,
    why: str,
    likeness: Likeness | None,
    limits: Sequence[Limit],
    shares: Shares | None,
) -> None:
    counts.taken[candidate] = True
    counts.chosen.append(candidate)
    counts.why.append(why)
    for limit, seen in zip(limits, counts.of_kind, strict=True):
        seen[limit.kind[candidate]] += 1
    if shares is not None:
        counts.shown[shares.group[candidate]] += 1
    if likeness is not None:
        near = likeness.to(candidate)
        counts.nearest = near if counts.nearest is None else np.maximum(counts.nearest, near)
