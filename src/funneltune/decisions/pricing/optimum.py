"""The price that brings most, within bounds and what the log has held.

Legend: G prices, B draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Best(NamedTuple):
    """A price and what it brings per impression, (B,)."""

    price: Floats
    value: Floats


def best(prices: Floats, value: Floats, allowed: NDArray[np.bool_]) -> Best:
    """The highest of (B, G) values among allowed prices, refined by a parabola through it and its two neighbours where
    both are allowed: exact where demand is a line.

    Args:
        prices: (G,) ascending.
        value: (B, G).
        allowed: (G,) at least one.
    """
    masked = np.where(allowed, value, -np.inf)
    top = masked.argmax(axis=1)
    price, brought = prices[top].copy(), np.take_along_axis(value, top[:, None], axis=1)[:, 0]
    for row, at in enumerate(top):
        if 0 < at < len(prices) - 1 and allowed[at - 1] and allowed[at + 1]:
            second, first, level = np.polyfit(prices[at - 1 : at + 2] - prices[at], value[row, at - 1 : at + 2], 2)
            if second < 0:
                move = np.clip(-first / (2 * second), prices[at - 1] - prices[at], prices[at + 1] - prices[at])
                price[row], brought[row] = prices[at] + move, level + first * move + second * move**2
    return Best(price, brought)


def value_at(prices: Floats, value: Floats, price: float) -> float:
    """A (G,) curve read between its prices, linearly in the log price."""
    return float(np.interp(np.log(price), np.log(prices), value))
