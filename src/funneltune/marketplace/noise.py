"""Random numbers as a pure function of (seed, stream, indices): no order of calls, no chunk size can change them.

A counter-based generator: SplitMix64's finaliser (Steele, Lea and Flood 2014) folded over the indices. Whatever a world
draws while it runs comes from here, so a log is the same however it is cut, and any row can be drawn again alone.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


class Stream(IntEnum):
    """What a random number is for; two streams never share one."""

    TIME = 1
    SHOPPER = 2
    INTENT = 3
    QUERY = 4
    RACE = 5
    ORDER = 6
    CLICK = 7
    CART = 8
    PURCHASE = 9
    RESIDUAL_CLICK = 10
    RESIDUAL_PURCHASE = 11
    SUPPLY = 12
    MOOD = 13
    NEED = 14
    PROMOTION = 15
    DRIFT = 16
    DELAY = 17
    DRAW = 18
    PATIENCE = 19
    BID = 20
    PRICE_TEST = 31
    CATEGORY_DEMAND = 32
    ITEM_DEMAND = 33


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def uniform(seed: int, stream: Stream, *indices: ArrayLike) -> NDArray[np.float64]:
    """Uniform numbers strictly between 0 and 1, one for each broadcast combination of `indices`."""
    bits = _mix(np.array([(seed * _GOLDEN + int(stream) * 0xD1B54A32D192ED03) & _MASK], dtype=np.uint64))
    for index in indices:
        counters = np.atleast_1d(np.asarray(index)).astype(np.uint64) * np.uint64(_GOLDEN)  # a scalar would warn
        bits = _mix(bits ^ (counters + np.uint64(_GOLDEN)))
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, stream: Stream, *indices: ArrayLike) -> NDArray[np.float32]:
    """Standard normal numbers by Box and Muller (1958), addressed as `uniform` is."""
    first = uniform(seed, stream, *indices, 0).astype(np.float32)
    second = uniform(seed, stream, *indices, 1).astype(np.float32)
    # float32 rounds a uniform above 1 - 2^-25 up to 1; the log is then 0, which is harmless.
    return np.asarray(np.sqrt(np.float32(-2.0) * np.log(first)) * np.cos(np.float32(2.0 * np.pi) * second))
