"""Words, or categories, that set a group apart: log-odds with an informative prior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
LEVEL = 0.05
PRIOR = 100.0
"""Words that the prior is worth, dealt out as all words are."""


class Telling(NamedTuple):
    """A word that a group uses more than the others do."""

    place: int
    """Of the word."""
    times: float
    """Its odds in the group over those in the others."""
    z: float


def telling(counts: Floats, users: Floats, least: int, most: int) -> list[list[Telling]]:
    """Of each group the words that it uses more than the others, the surest first.

    Monroe, Colaresi & Quinn (2008), eqs. 15, 16 and 22: delta = log((y_i + a) / (n_i + A - y_i - a)) - the same of the
    others, with variance 1 / (y_i + a) + 1 / (y_j + a) and a prior of `PRIOR` words of everyone's shares. Told are
    those of z beyond the 95% level of all words and groups together (Bonferroni) that at least `least` of the group's
    shoppers used, `most` at most.

    Args:
        counts: (groups, words) how often.
        users: (groups, words) by how many shoppers.
        least: Shoppers.
        most: Words of a group.
    """
    groups, words = counts.shape
    whole = counts.sum(axis=0)
    if groups < 2 or not whole.sum():
        return [[] for _ in range(groups)]
    prior = PRIOR * whole / whole.sum()
    sure = float(special.ndtri(1 - LEVEL / (2 * groups * words)))
    found = []
    for group in range(groups):
        mine, others = counts[group], whole - counts[group]
        with np.errstate(divide="ignore", invalid="ignore"):
            delta = _log_odds(mine, prior) - _log_odds(others, prior)
            z = delta / np.sqrt(1 / (mine + prior) + 1 / (others + prior))
        kept = np.flatnonzero((z > sure) & (users[group] >= least))
        best = kept[np.argsort(-z[kept], kind="stable")][:most]
        found.append([Telling(int(at), float(np.exp(delta[at])), float(z[at])) for at in best])
    return found


def _log_odds(counts: Floats, prior: Floats) -> Floats:
    return np.asarray(np.log(counts + prior) - np.log(counts.sum() + prior.sum() - counts - prior))
