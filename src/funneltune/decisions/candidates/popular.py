"""Items that everybody takes, whatever was asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from funneltune.data import Asked, smoothed_rates
from funneltune.decisions.candidates.protocol import Found, best, require_count
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

MEASURES = ("rate", "count")


class Popular:
    """The items that the training requests took most often: the same list for every request.

    Args:
        shown: (items,): training impressions.
        taken: (items,): events among them, of the log's first binary task.
        by: `rate`: taken / shown, drawn towards the mean by `strength` impressions; `count`: how often.
        strength: Of the mean.

    Raises:
        ConfigError: if `by` is neither, or `strength` is negative.
    """

    def __init__(
        self, shown: NDArray[np.float64], taken: NDArray[np.float64], by: str = "rate", strength: float = 20.0
    ) -> None:
        if by not in MEASURES:
            raise ConfigError(f"by={by!r} must be one of {', '.join(MEASURES)}.")
        if not strength > 0:
            raise ConfigError(f"strength={strength} must be > 0, the impressions that the mean counts as.")
        self.scores = smoothed_rates(shown, taken, strength) if by == "rate" else np.asarray(taken, dtype=np.float64)

    @classmethod
    def of(cls, scorer: Scorer, by: str = "rate", strength: float = 20.0) -> Popular:
        """From a run's training requests."""
        catalogue = scorer.catalogue
        return cls(catalogue.shown.astype(np.float64), catalogue.popularity.astype(np.float64), by, strength)

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The same k for all."""
        require_count(k)
        numbers, scores = best(self.scores, k)
        return Found(np.tile(numbers, (len(asked), 1)), np.tile(scores, (len(asked), 1)))
