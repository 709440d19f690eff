"""A few combinations that hold every pair of values of any two factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product


def covering(
    factors: Mapping[str, Sequence[str]], allowed: Callable[[Mapping[str, str]], bool]
) -> list[dict[str, str]]:
    """Rows of one value per factor in which every pair of values occurs that some allowed row has; greedy."""
    names = list(factors)
    rows = [dict(zip(names, values, strict=True)) for values in product(*factors.values())]
    rows = [row for row in rows if allowed(row)]
    left = {pair for row in rows for pair in _pairs(row)}
    found = []
    while left:
        best = max(rows, key=lambda row: sum(pair in left for pair in _pairs(row)))
        found.append(best)
        left.difference_update(_pairs(best))
    return found


def _pairs(row: Mapping[str, str]) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    return list(combinations(row.items(), 2))
