"""An explanation in one sentence, for people who sell things."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from funneltune.decisions.explanations.explanation import Explanation

NAMED = 3
"""Pushes that the sentence names on either side."""
SHARE = 0.1
"""Of the largest push; smaller ones are not worth a word."""


def sentence(told: Explanation) -> str:
    """What the probability is, and what speaks for and against the item."""
    asked = f"For “{told.query}”" if told.query else f"For shopper {told.user}" if told.user else "Here"
    happened, of = told.evidence.everywhere.get(told.rate, (0, 0))
    usual = f"; {percent(happened / of)} of {_space(told)}" if of else ""
    chance = f"a chance of {told.event} of {percent(told.p[told.rate])} ({told.rate}{usual})"
    first = f"{asked} the run gives “{short(told.title)}” {chance}"
    pushes = sorted([*(word_push(told)), *feature_push(told)], key=lambda one: -abs(one[1]))
    least = SHARE * abs(pushes[0][1]) if pushes else 0.0
    shown = [one for one in pushes if abs(one[1]) >= least and one[1] != 0.0]
    up = [name for name, push in shown if push > 0][:NAMED]
    down = [name for name, push in shown if push < 0][:NAMED]
    parts = [f"raised most by {listed(up)}"] if up else []
    parts += [f"lowered most by {listed(down)}"] if down else []
    if not parts:
        return f"{first}."
    sums = told.completeness
    nothing = math.exp(sums.baseline) if sums.scale == "log-probability" else 1.0 / (1.0 + math.exp(-sums.baseline))
    blank = "a blank query and item" if told.words else "a row of which nothing is known"
    return f"{first}; against {blank} ({percent(nothing)}) it is {'; '.join(parts)}."


def _space(told: Explanation) -> str:
    """The training impressions on which the event could happen."""
    _, _, given = told.event.partition(" given ")
    return f"the training impressions with {given}" if given else "the training impressions"


def word_push(told: Explanation) -> list[tuple[str, float]]:
    """Words with their pushes, as the sentence names them."""
    where = {"query": "the query", "item": "the title"}
    return [(f"“{bare(word.text)}” in {where[word.role]}", word.push) for word in told.words if word.read]


def feature_push(told: Explanation) -> list[tuple[str, float]]:
    """Inputs beside the texts, likewise."""
    return [(_named(one.name, one.kind, one.value), one.push) for one in told.features]


def _named(name: str, kind: str, value: str) -> str:
    return f"the earlier click on “{short(value)}”" if kind == "event" else f"{name} {value}".strip()


def bare(word: str) -> str:
    """A word without the punctuation around it."""
    return word.strip(",.;:!?()[]{}\"'“”") or word


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def short(text: str, most: int = 80) -> str:
    """A text, cut behind a word where it is long."""
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def percent(p: float) -> str:
    """A probability in percent, to two digits that mean something."""
    if p <= 0.0:
        return "0%"
    digits = 1 if p >= 0.1 else 2 if p >= 0.001 else 4
    return f"{100 * p:.{digits}f}%"
