"""A run's own probabilities on what another way has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from funneltune.data import Asked
from funneltune.decisions.candidates.protocol import Candidates, Floats, Found, best, empty, require_count
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

AT_ONCE = 64
"""Requests that are scored in one call."""


class Reranked:
    """The best `depth` of a first way, put in order anew by a run's rate, or by both.

    score(item) = weight z(logit p) + (1 - weight) z(first way's score), each z standardised over the request's own
    candidates (a convex combination, Bruch et al. 2023, after the two are on one scale). With a weight of 1 only the
    run speaks.

    Args:
        first: Finds the candidates.
        scorer: The run.
        by: Its rate; by default the funnel's last (ctcvr).
        depth: Candidates per request; more are not found.
        weight: Of the run.

    Raises:
        ConfigError: if `by` is no rate of the run, `depth` < 1, or `weight` lies outside [0, 1].
    """

    def __init__(self, first: Candidates, scorer: Scorer, by: str = "", depth: int = 200, weight: float = 1.0) -> None:
        self.by = by or scorer.rates[-1]
        if self.by not in scorer.rates:
            raise ConfigError(f"by={by!r} must be one of {', '.join(scorer.rates)}.")
        if depth < 1:
            raise ConfigError(f"depth={depth} must be >= 1, the candidates that are put in order.")
        if not 0 <= weight <= 1:
            raise ConfigError(f"weight={weight} must lie in [0, 1]: 1 asks the run alone, 0 the first way alone.")
        self.first, self.scorer, self.depth, self.weight = first, scorer, depth, weight

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The best k of each request's candidates.

        Raises:
            ConfigError: if the run reads words and there are none.
        """
        require_count(k)
        first = self.first.find(asked, self.depth)
        found = empty(len(asked), k)
        for start in range(0, len(asked), AT_ONCE):
            rows = [n for n in range(start, min(start + AT_ONCE, len(asked))) if first.numbers[n, 0] >= 0]
            items = [first.numbers[n][first.numbers[n] >= 0] for n in rows]
            said = self.scorer.score([replace(asked[n], columns={}) for n in rows], list(items))
            for n, of_one, rates in zip(rows, items, said, strict=True):
                scores = self._fused(rates[self.by], first.scores[n, : len(of_one)])
                order, found.scores[n] = best(scores, k)
                found.numbers[n, order >= 0] = of_one[order[order >= 0]]
        return found

    def _fused(self, p: Floats, first: Floats) -> Floats:
        if self.weight == 1:
            return p
        inside = np.clip(p, 1e-12, 1 - 1e-12)
        logit = np.log(inside) - np.log1p(-inside)
        return self.weight * standardised(logit) + (1 - self.weight) * standardised(first)


def standardised(scores: Floats) -> Floats:
    """Mean 0 and variance 1; zeros where all are equal."""
    spread = float(scores.std())
    return (scores - scores.mean()) / spread if spread > 0 else np.zeros(len(scores))
