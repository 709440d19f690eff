"""A split's reviews: what the run says of items and departments, and how much better than words alone it reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.scorer import Scorer
from funneltune.decisions.sentiment.baselines import Part, by_words
from funneltune.decisions.sentiment.reviews import Reader, Said
from funneltune.decisions.sentiment.settings import Settings
from funneltune.decisions.sentiment.words import Push, in_common
from funneltune.errors import ConfigError, DataError
from funneltune.metrics import weighted_auc
from funneltune.metrics.levels import checked_levels, median_level
from funneltune.metrics.ties import Floats
from funneltune.metrics.uplift import draws_of, ends

RUN = "the run"
FEW_VALUES = 30
MEASURES = ("recommended AUC", "rating kappa", "rating MAE")


@dataclass(frozen=True)
class Measured:
    """A value, or a difference, with the middle 95% of its bootstrap over items."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Grouped:
    """Reviews of an item or a department."""

    by: str
    name: str
    reviews: int
    predicted: float
    """Mean expected rating."""
    low: float
    high: float
    rated: float
    """Mean rating that was given."""
    recommended: float
    """Mean p(recommended)."""
    did: float
    """Share that did."""
    up: list[Push] = field(default_factory=list)
    down: list[Push] = field(default_factory=list)


@dataclass(frozen=True)
class Studied:
    """What came of it."""

    reader: Reader
    settings: Settings
    rows: NDArray[np.int64]
    said: Said
    stars: Floats
    """(n,): given."""
    likes: NDArray[np.int64]
    groups: list[Grouped]
    measures: dict[str, dict[str, Measured]]
    """Who reads -> measure."""
    differences: dict[str, dict[str, Measured]]
    """Baseline -> measure: the run less it."""
    clusters: int


def study(scorer: Scorer, settings: Settings) -> Studied:
    """Read a split's reviews, group them, and hold the run against the baselines.

    Raises:
        ConfigError: if the run lacks a task, or a group is none of the items' fields.
        DataError: if the split's reviews have one rating, or one recommendation, only.
    """
    reader = Reader(scorer)
    fields = _groups_of(reader, settings.by)
    rows = scorer.assembly.data.rows(settings.split)
    rating, likes = _labels(reader, rows)
    for name, label in ((reader.rating.name, rating), (reader.recommended.name, likes)):
        if len(np.unique(label)) < 2:
            raise DataError(f"split={settings.split}: all {len(label)} reviews have the same {name}; nothing to tell.")
    said = reader.of_log(rows)
    everyone = {RUN: said}
    if settings.baseline == "tfidf":
        parts = {split: _part(reader, scorer.assembly.data.rows(split)) for split in ("train", "validation")}
        texts = _joined(reader, rows)
        everyone |= by_words(parts["train"], parts["validation"], texts, len(reader.rating.levels))
    cluster = reader.store.column("item")[rows].astype(np.int64)
    measures, differences = _measured(everyone, rating, likes, cluster, settings)
    stars = reader.worth[rating]
    groups = [one for name in fields for one in _grouped(reader, name, rows, said, stars, likes, settings)]
    return Studied(reader, settings, rows, said, stars, likes, groups, measures, differences, len(np.unique(cluster)))


def _labels(reader: Reader, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rating = checked_levels(reader.store.column(reader.rating.name)[rows], reader.rating)
    return rating, (reader.store.column(reader.recommended.name)[rows] > 0.5).astype(np.int64)


def _joined(reader: Reader, rows: NDArray[np.int64]) -> list[str]:
    return [f"{text} {item}" for text, item in zip(reader.texts(rows), reader.item_texts(rows), strict=True)]


def _part(reader: Reader, rows: NDArray[np.int64]) -> Part:
    return Part(_joined(reader, rows), *_labels(reader, rows))


# --- groups --------------------------------------------------------------------------------------------------------


def _groups_of(reader: Reader, by: tuple[str, ...]) -> tuple[str, ...]:
    catalogue = reader.scorer.catalogue
    known = [name for name in catalogue.columns if name != "key"]
    if unknown := [name for name in by if name not in ("item", *known)]:
        raise ConfigError(f"by={unknown[0]} must be one of item, {', '.join(known)}: what the log tells of items.")
    few = [name for name in known if 1 < len(set(map(str, catalogue.column(name)))) <= FEW_VALUES]
    return by or ("item", *few)


def _grouped(
    reader: Reader,
    by: str,
    rows: NDArray[np.int64],
    said: Said,
    stars: Floats,
    likes: NDArray[np.int64],
    settings: Settings,
) -> list[Grouped]:
    """Groups of enough reviews, the worst first."""
    catalogue = reader.scorer.catalogue
    values = np.asarray(catalogue.keys if by == "item" else catalogue.column(by), dtype=object)
    member = values[reader.store.column("item")[rows]].astype(str)
    texts, expected = reader.texts(rows), said.rating(reader.worth)
    found = []
    for name in np.unique(member):
        of = np.flatnonzero(member == name)
        if len(of) < settings.smallest:
            continue
        own = expected[of]
        reach = 1.959964 * float(own.std(ddof=1)) / math.sqrt(len(of))
        up, down = in_common([texts[n] for n in of], own, said.recommended[of], settings.words)
        mean = float(own.mean())
        given = (float(stars[of].mean()), float(said.recommended[of].mean()), float(likes[of].mean()))
        found.append(Grouped(by, str(name), len(of), mean, mean - reach, mean + reach, *given, up, down))
    return sorted(found, key=lambda group: group.predicted)


# --- against words alone -------------------------------------------------------------------------------------------


def _measured(
    everyone: dict[str, Said],
    rating: NDArray[np.int64],
    likes: NDArray[np.int64],
    cluster: NDArray[np.int64],
    settings: Settings,
) -> tuple[dict[str, dict[str, Measured]], dict[str, dict[str, Measured]]]:
    weights = draws_of(cluster, settings.draws, settings.seed)
    own: dict[str, dict[str, float]] = {}
    drawn: dict[str, dict[str, Floats]] = {}
    for name, said in everyone.items():
        predicted = median_level(said.levels)
        own[name] = _values(said, predicted, rating, likes, np.ones(len(rating)))
        rows = [_values(said, predicted, rating, likes, weight) for weight in weights]
        drawn[name] = {key: np.array([row[key] for row in rows]) for key in MEASURES}
    measures = {name: {key: Measured(own[name][key], *ends(drawn[name][key])) for key in MEASURES} for name in everyone}
    differences = {
        name: {
            key: Measured(own[RUN][key] - own[name][key], *ends(drawn[RUN][key] - drawn[name][key])) for key in MEASURES
        }
        for name in everyone
        if name != RUN
    }
    return measures, differences


def _values(
    said: Said, predicted: NDArray[np.int64], rating: NDArray[np.int64], likes: NDArray[np.int64], weight: Floats
) -> dict[str, float]:
    """AUC of the recommendation; quadratic kappa and absolute error of the median level, on weighted reviews."""
    levels = said.levels.shape[1]
    seen = np.bincount(rating * levels + predicted, weights=weight, minlength=levels**2).reshape(levels, levels)
    apart = np.subtract.outer(np.arange(levels), np.arange(levels))
    chance = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / seen.sum()
    by_chance = float((apart**2 * chance).sum())
    return {
        "recommended AUC": weighted_auc(said.recommended, weight * likes, weight * (1 - likes)),
        "rating kappa": 1 - float((apart**2 * seen).sum()) / by_chance if by_chance else float("nan"),
        "rating MAE": float((np.abs(apart) * seen).sum() / seen.sum()),
    }
