"""Several ways at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from funneltune.data import Asked
from funneltune.decisions.candidates.protocol import Candidates, Floats, Found, best, empty, require_count
from funneltune.errors import ConfigError


class Hybrid:
    """Reciprocal rank fusion (Cormack, Clarke & Buettcher 2009): score(item) = sum over ways of w / (constant + rank).

    A rank counts from 1; an item that a way did not find adds nothing there. Where a way has nothing to say (a cold
    shopper, a request without words), the others stand in.

    Args:
        ways: By name.
        weights: Way -> w; 1 where none is named.
        constant: The paper's 60: how little the first places are worth beside the next.
        depth: Items that each way brings at least, however few are asked for.

    Raises:
        ConfigError: if there is no way, a weight names none or is negative, or a number is out of range.
    """

    def __init__(
        self,
        ways: Mapping[str, Candidates],
        weights: Mapping[str, float] | None = None,
        constant: float = 60.0,
        depth: int = 200,
    ) -> None:
        if not constant > 0:
            raise ConfigError(f"constant={constant} must be > 0; 60 is usual.")
        self.ways, self.weights = dict(ways), _checked_weights(ways, weights or {}, depth)
        self.constant, self.depth = constant, depth

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The best k of each request by their fused score."""
        require_count(k)
        deep = max(k, self.depth)
        return self.fuse({name: way.find(asked, deep) for name, way in self.ways.items()}, k)

    def fuse(self, lists: Mapping[str, Found], k: int) -> Found:
        """The same of lists that are at hand, way by way."""
        fused = empty(len(next(iter(lists.values())).numbers), k)
        for row in range(len(fused.numbers)):
            numbers, gains = [], []
            for name, found in lists.items():
                there = found.numbers[row]
                there = there[there >= 0]
                numbers.append(there)
                gains.append(self.weights[name] / (self.constant + np.arange(1, len(there) + 1)))
            items, place = np.unique(np.concatenate(numbers), return_inverse=True)
            scores = np.bincount(place, weights=np.concatenate(gains), minlength=len(items)).astype(np.float64)
            at, fused.scores[row] = best(scores, k, scores > 0)
            fused.numbers[row, at >= 0] = items[at[at >= 0]]
        return fused


class Convex:
    """A weighted sum of scores (Bruch, Gai & Ingber 2023): score(item) = sum over ways of w z / sum over ways of w.

    z is a way's own score, standardised over the request's candidates: unlike ranks, it keeps by how much one item is
    ahead of the next. An item that a way did not find has that way's lowest score there, which it cannot be above. A
    way that finds nothing adds nothing.

    Args:
        ways: By name.
        weights: Way -> w; 1 where none is named.
        depth: Items that each way brings at least, however few are asked for.

    Raises:
        ConfigError: if there is no way, a weight names none or is negative, or `depth` < 1.
    """

    def __init__(
        self, ways: Mapping[str, Candidates], weights: Mapping[str, float] | None = None, depth: int = 200
    ) -> None:
        self.ways, self.weights = dict(ways), _checked_weights(ways, weights or {}, depth)
        self.depth = depth

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The best k of each request by their fused score."""
        require_count(k)
        deep = max(k, self.depth)
        return self.fuse({name: way.find(asked, deep) for name, way in self.ways.items()}, k)

    def fuse(self, lists: Mapping[str, Found], k: int) -> Found:
        """The same of lists that are at hand, way by way."""
        fused = empty(len(next(iter(lists.values())).numbers), k)
        for row in range(len(fused.numbers)):
            told = {name: found for name, found in lists.items() if self.weights[name] and found.numbers[row, 0] >= 0}
            if not told:
                continue
            items = np.unique(np.concatenate([found.numbers[row] for found in told.values()]))
            items = items[items >= 0]
            total = np.zeros(len(items))
            for name, found in told.items():
                there = found.numbers[row] >= 0
                scores = np.full(len(items), found.scores[row][there].min())
                scores[np.searchsorted(items, found.numbers[row][there])] = found.scores[row][there]
                total += self.weights[name] * standardised(scores)
            at, fused.scores[row] = best(total / sum(self.weights[name] for name in told), k)
            fused.numbers[row, at >= 0] = items[at[at >= 0]]
        return fused


def standardised(scores: Floats) -> Floats:
    """Mean 0 and variance 1; zeros where all are equal."""
    spread = float(scores.std())
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros(len(scores))


def _checked_weights(ways: Mapping[str, Candidates], weights: Mapping[str, float], depth: int) -> dict[str, float]:
    if not ways:
        raise ConfigError("ways: there is none to fuse; name one or more.")
    for name, weight in weights.items():
        if name not in ways:
            raise ConfigError(f"weights: {name}={weight} names none of {', '.join(ways)}.")
        if not weight >= 0:
            raise ConfigError(f"weights: {name}={weight} must be >= 0.")
    if depth < 1:
        raise ConfigError(f"depth={depth} must be >= 1, the items that each way brings.")
    return {name: float(weights.get(name, 1.0)) for name in ways}
