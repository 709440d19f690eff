"""Groups of shoppers: how many, how stable, and whether there are any.

Legend: n shoppers by c components; k groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.personas.settings import Settings
from funneltune.errors import ConfigError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LEVEL = 0.05
STARTS = 4
STEADY = 0.9
"""An adjusted Rand index of re-clusterings from which groups are taken to come again."""
SILHOUETTES = 2000
"""Shoppers, drawn at random, whose silhouettes are averaged."""


@dataclass(frozen=True)
class Tried:
    """One number of groups (hdbscan: one least size), held against shoppers without groups."""

    size: int
    """k; of hdbscan the least size of a group."""
    groups: int
    silhouette: float
    silhouette_null: float
    """Mean over sets of shoppers without groups."""
    gap: float
    """Log of the squares within groups: of shoppers without groups less the real ones."""
    stability: float
    stability_null: float
    """What 95 of 100 sets without groups stay below."""

    @property
    def stable(self) -> bool:
        """Whether re-clusterings agree more than without groups, or all but always: clumps that lie far apart leave
        clumps in each component, so that what is dealt out anew falls into groups as well.
        """
        return self.stability > self.stability_null or self.stability >= STEADY


@dataclass(frozen=True)
class Grouping:
    """Labels, and what speaks for them."""

    labels: Integers
    """(n,) from 0 on, the largest group first; -1 of none. All -1 where there are no groups."""
    strength: Floats
    """(n,) from 0 to 1: how clearly a shopper belongs."""
    tried: tuple[Tried, ...]
    chosen: Tried | None
    p_silhouette: float
    p_gap: float
    merged: int
    """Groups that were too small and joined the nearest."""

    @property
    def k(self) -> int:
        """How many groups there are; 0: none."""
        return int(self.labels.max(initial=-1)) + 1

    @property
    def beyond_chance(self) -> bool:
        """Whether silhouette and gap both exceed what shoppers without groups have."""
        return max(self.p_silhouette, self.p_gap) <= LEVEL


def principal(vectors: Floats, explained: float) -> Floats:
    """(n, c): scores on the components that explain a share of the variance; c = 0 where there is none."""
    centred = vectors - vectors.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    whole = float((singular**2).sum())
    if whole <= 1e-12:
        return np.zeros((len(vectors), 0))
    kept = int(np.searchsorted(np.cumsum(singular**2) / whole, explained - 1e-12)) + 1
    return np.asarray(left[:, :kept] * singular[:kept])


def shuffled(scores: Floats, rng: np.random.Generator) -> Floats:
    """Shoppers without groups: each component's scores dealt out anew, so that only what they form together is lost.

    Components, not columns, are dealt: they are uncorrelated, so a slope that runs through all shoppers (who likes it
    dear, buys less) stays as it is and is not taken for groups (Tibshirani et al. 2001, reference b).
    """
    return np.column_stack([rng.permutation(column) for column in scores.T])


def labelled(scores: Floats, method: str, size: int, seed: int, starts: int = STARTS) -> Integers:
    """(n,) the groups of a method, numbered from 0; -1: between them."""
    if method == "kmeans":
        from sklearn.cluster import KMeans

        found = KMeans(size, n_init=starts, random_state=seed).fit_predict(scores)
    else:
        from sklearn.cluster import HDBSCAN

        found = HDBSCAN(min_cluster_size=min(size, len(scores)), copy=True).fit_predict(scores)
    return np.asarray(found, dtype=np.int64)


def silhouette(scores: Floats, labels: Integers, seed: int) -> float:
    """Mean silhouette (Rousseeuw 1987) of the grouped, times their share; 0 with fewer than two groups."""
    from sklearn.metrics import silhouette_score

    there = labels >= 0
    if len(np.unique(labels[there])) < 2 or there.sum() <= len(np.unique(labels[there])):
        return 0.0
    rows = np.flatnonzero(there)
    if len(rows) > SILHOUETTES:
        rows = np.random.default_rng((seed, 3)).permutation(rows)[:SILHOUETTES]
    if not 2 <= len(np.unique(labels[rows])) < len(rows):
        return 0.0
    return float(silhouette_score(scores[rows], labels[rows])) * float(there.mean())


def within(scores: Floats, labels: Integers) -> float:
    """Log of the squared distances from each group's mean; who has no group is held against everyone's."""
    total = 0.0
    for group in np.unique(labels):
        rows = scores[labels == group]
        centre = rows.mean(axis=0) if group >= 0 else scores.mean(axis=0)
        total += float(((rows - centre) ** 2).sum())
    return float(np.log(max(total, 1e-300)))


def stability(scores: Floats, labels: Integers, settings: Settings, size: int, times: int, seed: int) -> float:
    """Mean adjusted Rand index of the groups of bootstrap samples (each shopper once) with those of everyone.

    Ben-Hur, Elisseeff & Guyon (2002); Hennig (2007). 0 where there are fewer than two groups.
    """
    from sklearn.metrics import adjusted_rand_score

    n, rng, found = len(scores), np.random.default_rng((seed, 4)), []
    if len(np.unique(labels[labels >= 0])) < 2:
        return 0.0
    for number in range(times):
        drawn = np.unique(rng.integers(0, n, n))
        again = labelled(scores[drawn], settings.method, size, number, starts=2)
        found.append(adjusted_rand_score(labels[drawn], again))
    return float(np.mean(found))


def group(scores: Floats, settings: Settings) -> Grouping:
    """Groups of shoppers, as many as the settings or the data say.

    Each number is held against `nulls` sets of shoppers without groups (`shuffled`). There are groups if both the best
    silhouette and the best gap (each in standard deviations of those sets, the best over all numbers tried) are reached
    by 1 in 20 of them at most, and some number's groups come again in bootstrap samples more than theirs do (or with
    an adjusted Rand index of .9). Of these numbers the one is chosen whose silhouette exceeds theirs most.
    """
    n, sizes = len(scores), _sizes(len(scores), settings)
    if not scores.shape[1] or not sizes:
        return _none(n, (), 1.0, 1.0)
    if settings.method == "kmeans" and max(sizes) >= n:
        raise ConfigError(f"k={max(sizes)} must be fewer than the {n} shoppers with enough of the past; lower it.")
    rng = np.random.default_rng((settings.seed, 5))
    nulls = [shuffled(scores, rng) for _ in range(settings.nulls)]
    real = [labelled(scores, settings.method, size, settings.seed) for size in sizes]
    false = [[labelled(null, settings.method, size, settings.seed) for size in sizes] for null in nulls]
    ours = np.array([[silhouette(scores, at, 0), -within(scores, at)] for at in real])  # (sizes, 2)
    theirs = np.array(
        [[[silhouette(x, at, 0), -within(x, at)] for at in of] for x, of in zip(nulls, false, strict=True)]
    )
    p_silhouette, p_gap = (_p_value(ours[:, one], theirs[:, :, one]) for one in (0, 1))
    tried = []
    for place, size in enumerate(sizes):
        stable = stability(scores, real[place], settings, size, settings.bootstraps, settings.seed)
        null = [
            stability(x, of[place], settings, size, max(2, settings.bootstraps // 4), number)
            for number, (x, of) in enumerate(zip(nulls[:19], false, strict=False))
        ]
        mean = theirs[:, place].mean(axis=0)
        tried.append(
            Tried(
                size=size,
                groups=len(np.unique(real[place][real[place] >= 0])),
                silhouette=float(ours[place, 0]),
                silhouette_null=float(mean[0]),
                gap=float(ours[place, 1] - mean[1]),
                stability=stable,
                stability_null=float(np.max(null)),
            )
        )
    return _decided(scores, real, tried, settings, p_silhouette, p_gap)


def _decided(
    scores: Floats,
    real: Sequence[Integers],
    tried: Sequence[Tried],
    settings: Settings,
    p_silhouette: float,
    p_gap: float,
) -> Grouping:
    held = [one for one in tried if one.stable and one.silhouette > one.silhouette_null and one.groups > 1]
    if settings.k is not None:
        chosen: Tried | None = tried[0]
    elif held and max(p_silhouette, p_gap) <= LEVEL:
        chosen = max(held, key=lambda one: one.silhouette - one.silhouette_null)
    else:
        chosen = None
    if chosen is None:
        return _none(len(scores), tuple(tried), p_silhouette, p_gap)
    labels, merged = merge_small(scores, real[list(tried).index(chosen)], settings.min_size)
    if labels.max(initial=-1) < 1:
        return _none(len(scores), tuple(tried), p_silhouette, p_gap, merged)
    return Grouping(labels, strengths(scores, labels), tuple(tried), chosen, p_silhouette, p_gap, merged)


def _none(n: int, tried: tuple[Tried, ...], p_silhouette: float, p_gap: float, merged: int = 0) -> Grouping:
    return Grouping(np.full(n, -1), np.zeros(n), tried, None, p_silhouette, p_gap, merged)


def _sizes(n: int, settings: Settings) -> list[int]:
    if settings.k is not None:
        return [settings.k]
    if settings.method == "hdbscan":
        return [size for size in (settings.min_size, 2 * settings.min_size, 4 * settings.min_size) if size <= n // 2]
    return list(range(2, min(settings.max_k, n // settings.min_size) + 1))


def _p_value(ours: Floats, theirs: Floats) -> float:
    """Share of sets without groups (the real one counted in) whose best number is as good: `ours` (k,), `theirs`
    (sets, k). Numbers are compared in standard deviations of their own.
    """
    mean, spread = theirs.mean(axis=0), theirs.std(axis=0) + 1e-9
    best, others = ((ours - mean) / spread).max(), ((theirs - mean) / spread).max(axis=1)
    return float((1 + (others >= best).sum()) / (1 + len(others)))


def merge_small(scores: Floats, labels: Integers, least: int) -> tuple[Integers, int]:
    """Groups of fewer than `least` join the one whose mean is nearest, the smallest first; then the largest is 0.

    Returns the labels and how many groups were merged.
    """
    labels, merged = labels.copy(), 0
    while True:
        groups, sizes = np.unique(labels[labels >= 0], return_counts=True)
        if len(groups) < 2 or sizes.min() >= least:
            break
        small = groups[sizes.argmin()]
        others = groups[groups != small]
        centre = scores[labels == small].mean(axis=0)
        means = np.stack([scores[labels == other].mean(axis=0) for other in others])
        labels[labels == small] = others[((means - centre) ** 2).sum(axis=1).argmin()]
        merged += 1
    order = groups[np.argsort(-np.unique(labels[labels >= 0], return_counts=True)[1], kind="stable")]
    renamed = {int(old): new for new, old in enumerate(order)}
    return np.array([renamed.get(int(label), -1) for label in labels], dtype=np.int64), merged


def strengths(scores: Floats, labels: Integers) -> Floats:
    """(n,) how clearly each shopper belongs to its group: its share in a mixture of round normals of one width.

    Groups weigh by their size, and the width is that of all shoppers about their groups' means (what K-means assumes).
    """
    there = labels >= 0
    k = int(labels.max()) + 1
    means = np.stack([scores[labels == group].mean(axis=0) for group in range(k)])
    variance = float(((scores[there] - means[labels[there]]) ** 2).mean()) + 1e-12
    square = ((scores[:, None] - means) ** 2).sum(axis=2)
    logs = np.log(np.bincount(labels[there], minlength=k)) - square / (2 * variance)
    logs -= logs.max(axis=1, keepdims=True)
    share = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    return np.where(there, share[np.arange(len(scores)), np.maximum(labels, 0)], 0.0)
