"""What shoppers type: paraphrases, hypernyms, attributes in other words, use cases and occasions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace.vocabulary import DIMENSIONS, Vocabulary

MOST_ASKED = 3
_KINDS = ("type", "group", "occasion")
_KIND_CHANCE = (0.86, 0.08, 0.06)
_NOUN, _TITLE_NOUN = 0.5, 0.68  # cumulative: a query noun, the seller's noun, else a use case
_OWN_WORDS = 0.75  # chance that an attribute is asked for in the shopper's words, not the seller's
_AFTER = ("for", "in", "with", "to", "no", "not", "on", "from", "without", "by", "at")
_VERBS = frozenset(
    [
        "keeps",
        "folds",
        "hides",
        "survives",
        "does",
        "works",
        "warms",
        "dries",
        "sets",
        "cuts",
        "covers",
        "shows",
        "lets",
        "gives",
        "shuts",
        "lasts",
        "seals",
        "fits",
        "changes",
        "goes",
        "packs",
        "weighs",
        "stops",
        "comes",
        "looks",
        "needs",
        "feeds",
        "plugs",
        "protects",
    ]
)


@dataclass(frozen=True)
class Searches:
    """Distinct queries as columns; every array has one entry per query, the most popular first."""

    text: NDArray[np.str_]
    target: NDArray[np.int16]  # row of Vocabulary.match
    asked: NDArray[np.int16]  # (queries, 3) attribute numbers, -1 none
    group: NDArray[np.int16]  # -1 for an occasion
    kind: NDArray[np.str_]  # type, group or occasion
    weight: NDArray[np.float64]  # Zipf weight
    season: NDArray[np.float32]  # day of the year of its peak, NaN where it has none

    def __len__(self) -> int:
        return len(self.text)


def build_searches(vocabulary: Vocabulary, rng: np.random.Generator, queries: int, zipf: float) -> Searches:
    """Draw queries until `queries` distinct ones are there; the short ones come out as the popular ones."""
    drawn: dict[str, tuple[int, tuple[int, ...], str]] = {}
    for _ in range(40 * queries + 400):
        text, target, asked, kind = _draw(vocabulary, rng)
        drawn.setdefault(text, (target, asked, kind))
        if len(drawn) == queries:
            break
    else:
        raise ConfigError(
            f"queries={queries} is more than the vocabulary can phrase (got {len(drawn)}); lower it or add domains."
        )
    texts = list(drawn)
    words = np.array([_length(text, vocabulary.language) for text in texts])
    order = np.argsort(words + rng.normal(0.0, 2.0, queries), kind="stable")
    targets = np.array([drawn[text][0] for text in texts], dtype=np.int16)[order]
    wanted = np.full((queries, MOST_ASKED), -1, dtype=np.int16)
    for row, position in enumerate(order):
        for column, number in enumerate(drawn[texts[position]][1]):
            wanted[row, column] = number
    kinds, groups = len(vocabulary.types), len(vocabulary.groups)
    of_type = np.append(vocabulary.type_group, np.int16(-1))[np.minimum(targets, kinds)]
    group = np.where((targets >= kinds) & (targets < kinds + groups), targets - kinds, of_type).astype(np.int16)
    return Searches(
        text=np.array(texts)[order],
        target=targets,
        asked=wanted,
        group=group,
        kind=np.array([drawn[texts[position]][2] for position in order]),
        weight=np.arange(1, queries + 1, dtype=np.float64) ** -zipf,
        season=np.append(vocabulary.season, np.float32(np.nan))[np.minimum(targets, kinds)].astype(np.float32),
    )


def _draw(vocabulary: Vocabulary, rng: np.random.Generator) -> tuple[str, int, tuple[int, ...], str]:
    """One query: text, target, asked attributes, kind."""
    kinds, groups = len(vocabulary.types), len(vocabulary.groups)
    kind = _KINDS[int(np.searchsorted(np.cumsum(_KIND_CHANCE), rng.random()))]
    if kind == "occasion" and vocabulary.occasions:
        number = int(rng.integers(len(vocabulary.occasions)))
        return _pick(vocabulary.occasions[number].phrases, rng), kinds + groups + number, (), kind
    if kind == "group":
        number = int(rng.integers(groups))
        members = np.flatnonzero(vocabulary.type_group == number)
        asked = _attributes(vocabulary, rng, int(rng.choice(members)), (0.5, 0.5))
        phrase = _pick(vocabulary.groups[number].phrases, rng)
        return _phrase(vocabulary, rng, phrase, asked, trailing=True), kinds + number, asked, kind
    number = int(rng.integers(kinds))
    product = vocabulary.types[number]
    form = rng.random()
    if form < _TITLE_NOUN:
        noun = _pick(product.nouns if form < _NOUN else product.titles, rng).lower()
        asked = _attributes(vocabulary, rng, number, (0.2, 0.5, 0.25, 0.05))
        return _phrase(vocabulary, rng, noun, asked, trailing=False), number, asked, "type"
    asked = _attributes(vocabulary, rng, number, (0.5, 0.45, 0.05))
    return _phrase(vocabulary, rng, _pick(product.uses, rng), asked, trailing=True), number, asked, "type"


def _attributes(
    vocabulary: Vocabulary, rng: np.random.Generator, kind: int, chances: Sequence[float]
) -> tuple[int, ...]:
    """Attributes that the type can have, of different dimensions; now and then a price level."""
    palette = vocabulary.palettes[vocabulary.types[kind].palette]
    dimensions = [dimension for dimension in DIMENSIONS if palette[dimension]]
    count = min(int(np.searchsorted(np.cumsum(chances), rng.random())), len(dimensions), MOST_ASKED)
    chosen = rng.permutation(len(dimensions))[:count]
    asked = [int(rng.choice(palette[dimensions[index]])) for index in chosen]
    if asked and rng.random() < 0.08:
        asked[-1] = vocabulary.attribute_number["budget" if rng.random() < 0.7 else "premium"]
    return tuple(asked)


def _phrase(vocabulary: Vocabulary, rng: np.random.Generator, noun: str, asked: Sequence[int], trailing: bool) -> str:
    """Put the attributes' words around the noun; all of them behind a `trailing` phrase."""
    if vocabulary.language == "zh":
        return _phrase_zh(vocabulary, rng, noun, asked, trailing)
    before, after = [], []
    for number in asked:
        attribute = vocabulary.attributes[number]
        word = _pick(attribute.queries if rng.random() < _OWN_WORDS else attribute.titles, rng).lower()
        first = word.split()[0]
        if first in _VERBS:
            after.append(f"that {word}")
        elif first in _AFTER or trailing or word.count(" ") >= 3:
            after.append(word)
        else:
            before.append(word)
    return " ".join([*before, noun, *after])


def _phrase_zh(
    vocabulary: Vocabulary, rng: np.random.Generator, noun: str, asked: Sequence[int], trailing: bool
) -> str:
    """Chinese puts what describes before what is described, with or without blanks between; a use case comes first."""
    words = []
    for number in asked:
        attribute = vocabulary.attributes[number]
        words.append(_pick(attribute.queries if rng.random() < _OWN_WORDS else attribute.titles, rng))
    blank = " " if rng.random() < 0.4 or any("的" in word for word in words) else ""
    return blank.join([noun, *words] if trailing else [*words, noun])


def _length(text: str, language: str) -> float:
    """Words; of Chinese, two characters each."""
    return len(text.replace(" ", "")) / 2 if language == "zh" else text.count(" ") + 1


def _pick(phrases: Sequence[str], rng: np.random.Generator) -> str:
    return phrases[int(rng.integers(len(phrases)))]
