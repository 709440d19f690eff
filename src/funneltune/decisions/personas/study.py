"""Personas of a run's shoppers, and on the marketplace how well they are those of its shoppers' segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.personas.blocks import Block, blocks_of
from funneltune.decisions.personas.describe import Persona, described
from funneltune.decisions.personas.grouping import Grouping, group, labelled, principal
from funneltune.decisions.personas.settings import Settings
from funneltune.decisions.personas.visits import Known, known_shoppers
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.marketplace import World
from funneltune.marketplace.worlds import world_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
DRAWS = 500


@dataclass(frozen=True)
class Truth:
    """How well personas agree with the marketplace's segments: adjusted Rand indices, 1 the same, 0 chance."""

    found: float
    low: float
    high: float
    """95% interval over bootstrap samples of shoppers."""
    by_chance: float
    """What shuffled segments stay below in 95 of 100 cases."""
    as_many: float
    """Of as many K-means groups as there are segments, whatever the verdict on their number."""
    ceiling: float
    """Of as many K-means groups of the true tastes, price sensitivities and budgets: segments overlap."""
    segments: int


@dataclass(frozen=True)
class Found:
    """Personas, and all that was measured on the way."""

    settings: Settings
    known: Known
    blocks: list[Block]
    scores: Floats
    """(n, c)."""
    grouping: Grouping
    personas: list[Persona]
    on_test: bool
    """Whether their rates are of the test split; else of the past."""
    place: Floats
    """(n, 2): on the map."""
    truth: Truth | None
    """None where nobody knows it."""


def personas(scorer: Scorer, settings: Settings) -> Found:
    """Group the shoppers of a run's log by what they did before the test split.

    Raises:
        ConfigError: if UMAP is asked for and not installed.
        DataError: if the log tells no shoppers, or too few have a past.
    """
    if settings.map == "umap":
        _umap()
    known = known_shoppers(scorer, settings.past, settings.most, 2 * settings.min_size, settings.seed)
    blocks = blocks_of(known, settings.blocks, settings.seed)
    vectors = (
        np.concatenate([block.scaled for block in blocks], axis=1) if blocks else np.zeros((len(known.shoppers), 0))
    )
    scores = principal(vectors, settings.explained)
    grouping = group(scores, settings)
    told, on_test = described(known, grouping.labels, settings.min_size)
    try:
        truth = truth_of(world_of(scorer.folder), known.numbers, scores, grouping, settings.seed)
    except ConfigError:  # no log of the marketplace
        truth = None
    return Found(settings, known, blocks, scores, grouping, told, on_test, laid_out(scores, settings), truth)


def laid_out(scores: Floats, settings: Settings) -> Floats:
    """(n, 2): shoppers on a plane, by their first two components or by UMAP (McInnes et al. 2018), seeded."""
    if settings.map == "umap" and scores.shape[1] > 2:
        near = min(15, len(scores) - 1)
        found = _umap()(n_neighbors=near, random_state=settings.seed, n_jobs=1).fit_transform(scores)
        return np.asarray(found, dtype=np.float64)
    return np.pad(scores[:, :2], ((0, 0), (0, max(0, 2 - scores.shape[1]))))


def truth_of(world: World, numbers: Integers, scores: Floats, grouping: Grouping, seed: int) -> Truth:
    """Personas against the marketplace's segments, which lean tastes, sensitivity to prices and budgets."""
    from sklearn.metrics import adjusted_rand_score

    shoppers, rng = world.shoppers, np.random.default_rng((seed, 6))
    segment, there = shoppers.segment[numbers], grouping.labels >= 0
    ours, theirs = grouping.labels[there], segment[there]
    k = len(np.unique(segment))
    draws = rng.integers(0, max(len(ours), 1), (DRAWS, len(ours)))
    again = [adjusted_rand_score(theirs[rows], ours[rows]) for rows in draws] if len(ours) else [np.nan]
    chance = [adjusted_rand_score(rng.permutation(theirs), ours) for _ in range(DRAWS)] if len(ours) else [np.nan]
    columns = np.column_stack([shoppers.taste, np.log(shoppers.sensitivity), np.log(shoppers.budget)])[numbers]
    true = (columns - columns.mean(axis=0)) / (columns.std(axis=0) + 1e-9)
    as_many = labelled(scores, "kmeans", k, seed, starts=10) if scores.shape[1] else np.zeros(len(segment))
    return Truth(
        found=float(adjusted_rand_score(theirs, ours)) if len(ours) else 0.0,
        low=float(np.quantile(again, 0.025)),
        high=float(np.quantile(again, 0.975)),
        by_chance=float(np.quantile(chance, 0.95)),
        as_many=float(adjusted_rand_score(segment, as_many)),
        ceiling=float(adjusted_rand_score(segment, labelled(true, "kmeans", k, seed, starts=10))),
        segments=k,
    )


def _umap() -> type:
    """UMAP's class; its import warns of a part that is not used here.

    Raises:
        ConfigError: if it is not installed.
    """
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)
            from umap import UMAP
    except ModuleNotFoundError:
        raise ConfigError(
            "map=umap needs a package that is not installed: pip install 'funneltune[personas]'."
        ) from None
    found: type = UMAP
    return found
