"""A run's own probabilities on what another way has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from funneltune.data import Asked
from funneltune.decisions.candidates.hybrid import standardised
from funneltune.decisions.candidates.protocol import Candidates, Floats, Found, best, empty, require_count
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

AT_ONCE = 64
"""Requests that are scored in one call."""


class Reranked:
    """The first `depth` of another way, put in order anew by a run's rate, or by both; what is behind them stays there.

    score(item) = weight z(logit p) + (1 - weight) z(first way's score), each z standardised over the request's own
    candidates (a convex combination, Bruch et al. 2023, after the two are on one scale). With a weight of 1 only the
    run speaks.

    Args:
        first: Finds the candidates.
        scorer: The run.
        by: Its rate; by default the funnel's last (ctcvr).
        depth: Candidates per request that the run sees.
        weight: Of the run.

    Raises:
        ConfigError: if `by` is no rate of the run, `depth` < 1, or `weight` lies outside [0, 1].
    """

    def __init__(self, first: Candidates, scorer: Scorer, by: str = "", depth: int = 200, weight: float = 1.0) -> None:
        by = by or scorer.rates[-1]
        if by not in scorer.rates:
            raise ConfigError(f"by={by!r} must be one of {', '.join(scorer.rates)}.")
        if depth < 1:
            raise ConfigError(f"depth={depth} must be >= 1, the candidates that are put in order.")
        if not 0 <= weight <= 1:
            raise ConfigError(f"weight={weight} must lie in [0, 1]: 1 asks the run alone, 0 the first way alone.")
        self.rated, self.weight = _Rated(first, scorer, by, depth), weight

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The best k of each request's candidates.

        Raises:
            ConfigError: if the run reads words and there are none.
        """
        require_count(k)
        first, said = self.rated.find(asked, k)
        found = empty(len(asked), k)
        for n, p in said.items():
            scores = self._fused(p, first.scores[n, : len(p)])
            behind = int((first.numbers[n, len(p) :] >= 0).sum())
            scores = np.concatenate([scores, scores.min() - np.arange(1, behind + 1)])
            order, found.scores[n] = best(scores, k)
            found.numbers[n, order >= 0] = first.numbers[n, order[order >= 0]]
        return found

    def weighed(self, weight: float) -> Reranked:
        """The same with another weight; what one has scored the other need not."""
        other = Reranked(self.rated.first, self.rated.scorer, self.rated.by, self.rated.depth, weight)
        other.rated = self.rated
        return other

    def _fused(self, p: Floats, first: Floats) -> Floats:
        if self.weight == 1:
            return p
        inside = np.clip(p, 1e-12, 1 - 1e-12)
        logit = np.log(inside) - np.log1p(-inside)
        return self.weight * standardised(logit) + (1 - self.weight) * standardised(first)


@dataclass
class _Rated:
    """The first way's candidates with the run's rate of each; the last requests' are kept."""

    first: Candidates
    scorer: Scorer
    by: str
    depth: int
    asked: tuple[Asked, ...] = ()
    kept: tuple[Found, dict[int, Floats]] | None = None

    def find(self, asked: Sequence[Asked], k: int) -> tuple[Found, dict[int, Floats]]:
        """The candidates (`k`, or `depth` if these are more), and request -> rates of its first `depth`, if any."""
        if self.kept is not None and tuple(asked) == self.asked and self.kept[0].numbers.shape[1] >= k:
            return self.kept
        first = self.first.find(asked, max(k, self.depth))
        there = [n for n in range(len(asked)) if first.numbers[n, 0] >= 0]
        said: dict[int, Floats] = {}
        for start in range(0, len(there), AT_ONCE):
            some = there[start : start + AT_ONCE]
            heads = [first.numbers[n, : self.depth] for n in some]
            items = [head[head >= 0] for head in heads]
            rates = self.scorer.score([replace(asked[n], columns={}) for n in some], list(items))
            said |= {n: of_one[self.by] for n, of_one in zip(some, rates, strict=True)}
        self.asked, self.kept = tuple(asked), (first, said)
        return self.kept
