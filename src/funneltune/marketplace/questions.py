"""What shoppers ask and what reviews say, with the passages that answer: drawn from a world's catalogue.

A passage is an item (its identifier) or a sentence of a review (`item-000012#1`, the second sentence about that item).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError
from funneltune.marketplace.vocabulary import DOMAINS, LANGUAGES, load_vocabulary
from funneltune.marketplace.world import World

SERVED = 0.5
"""Likeness from which on an attribute is what was asked for: the same one, or one near to it."""
GOOD = (
    "Still like new after a year of daily use.",
    "Very well made, it will last for years.",
    "Solid quality, nothing has come loose so far.",
    "Sturdy and carefully finished.",
)
BAD = (
    "It fell apart after a few weeks.",
    "Poorly made, a part broke on the second day.",
    "Feels flimsy and looks worn already.",
    "The finish started to peel within a month.",
)
WORTH = ("Great value for what it costs.", "Cheaper than the others and just as good.", "Worth every penny.")
DEAR = ("Overpriced for what it is.", "Too expensive, you pay for the name.", "Not worth the money.")
BESIDE = (
    "Delivery was quick.",
    "The box arrived a little dented.",
    "Bought it as a present for my sister.",
    "I would shop here again.",
    "The courier left it with a neighbour.",
)
HAS = ("It really is {word}.", "Mine is {word}, just as I had hoped.", "What I like is that it is {word}.")
FIND = ("do you have {words}", "I am looking for {words}", "can you recommend {words}", "where do I find {words}")
LASTS = ("is the {title} well made", "does the {title} last", "how good is the quality of the {title}")
COSTS = ("is the {title} worth the money", "is the {title} good value", "is the {title} too expensive for what it is")
IS = ("is the {title} {word}", "would you say the {title} is {word}", "can I count on the {title} being {word}")
ELSEWHERE = ("do you have {words}", "I am looking for {words}", "can you recommend {words}")
SERVICE = (
    "where is my order",
    "how do I return a parcel",
    "can I pay in instalments",
    "what are your opening hours",
    "my discount code does not work",
    "how do I change my password",
    "do you ship abroad",
    "I was charged twice",
    "can I speak to a person",
    "how long does a refund take",
)
INTENTS = ("find", "quality", "value", "attribute", "service")


@dataclass(frozen=True)
class Sentence:
    """One sentence of a review."""

    item: int
    number: int
    """Its place among the item's sentences."""
    text: str
    about: str
    """quality, value, beside, or the attribute's name."""


@dataclass(frozen=True)
class Question:
    """A question, what it is after, and all passages that answer it: none where nothing does."""

    text: str
    intent: str
    answers: tuple[str, ...]


def reviews_of(world: World, seed: int = 0) -> list[Sentence]:
    """What buyers wrote: none to six sentences an item, true to its quality, price and attributes.

    Raises:
        ConfigError: if the world is not an English one.
    """
    _require_english(world)
    rng = np.random.default_rng([world.seed, seed, 1])
    catalogue, found = world.catalogue, []
    for item in range(len(catalogue)):
        for number, (text, about) in enumerate(_said(world, item, rng)):
            found.append(Sentence(item, number, text, about))
    return found


def questions_of(world: World, sentences: Sequence[Sentence], n: int, seed: int = 0) -> list[Question]:
    """N different questions of five intents; what nothing answers (half, in a world of 1,000 items) has no passage.

    Raises:
        ConfigError: if the world is not an English one, or too small for so many.
    """
    _require_english(world)
    rng = np.random.default_rng([world.seed, seed, 2])
    about: dict[int, dict[str, list[str]]] = {}
    keys = world.items["key"]
    for one in sentences:
        about.setdefault(one.item, {}).setdefault(one.about, []).append(f"{keys[one.item]}#{one.number}")
    same: dict[str, list[int]] = {}
    for item, title in enumerate(world.catalogue.title):
        same.setdefault(str(title), []).append(item)
    foreign = _foreign(world)
    found: dict[str, Question] = {}
    for _ in range(60 * n + 100):
        if len(found) == n:
            return list(found.values())
        made = _question(world, rng, about, same, foreign)
        found.setdefault(made.text, made)
    raise ConfigError(f"questions={n} are more than this world can phrase ({len(found)}); ask for fewer.")


def _said(world: World, item: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    catalogue, told = world.catalogue, []
    for _ in range(int(rng.integers(0, 3))):
        if rng.random() < 0.7:
            pleased = catalogue.quality[item] + rng.normal(0.0, 0.5) > 0
            told.append((_pick(GOOD if pleased else BAD, rng), "quality"))
        if rng.random() < 0.4:
            dear = catalogue.relative_price[item] + rng.normal(0.0, 0.5) > 0
            told.append((_pick(DEAR if dear else WORTH, rng), "value"))
        slots = catalogue.slots[item][catalogue.slots[item] >= 0]
        if len(slots) and rng.random() < 0.5:
            attribute = world.vocabulary.attributes[int(rng.choice(slots))]
            told.append((_pick(HAS, rng).format(word=_pick(attribute.titles, rng).lower()), attribute.name))
        if rng.random() < 0.5:
            told.append((_pick(BESIDE, rng), "beside"))
    return told


def _question(
    world: World,
    rng: np.random.Generator,
    about: dict[int, dict[str, list[str]]],
    same: dict[str, list[int]],
    foreign: Sequence[str],
) -> Question:
    kind = rng.random()
    if kind < 0.1:
        return Question(_pick(SERVICE, rng) + _pick(("", " please", "?", ", can you help"), rng), "service", ())
    if kind < 0.2 and foreign:
        return Question(_pick(ELSEWHERE, rng).format(words=_pick(foreign, rng)), "find", ())
    if kind < 0.5:
        return _find(world, rng)
    item = int(rng.integers(len(world.catalogue)))
    title = str(world.catalogue.title[item])

    def told(subject: str) -> tuple[str, ...]:
        return tuple(one for twin in same[title] for one in about.get(twin, {}).get(subject, ()))

    if kind < 0.7:
        return Question(_pick(LASTS, rng).format(title=title), "quality", told("quality"))
    if kind < 0.82:
        return Question(_pick(COSTS, rng).format(title=title), "value", told("value"))
    slots = world.catalogue.slots[item][world.catalogue.slots[item] >= 0]
    number = int(rng.choice(slots)) if len(slots) else int(rng.integers(len(world.vocabulary.attributes)))
    attribute = world.vocabulary.attributes[number]
    text = _pick(IS, rng).format(title=title, word=_pick(attribute.queries, rng).lower())
    in_title = any(word.lower() in title.lower() for word in attribute.titles)
    own = tuple(str(world.items["key"][twin]) for twin in same[title]) if in_title else ()
    return Question(text, "attribute", (*told(attribute.name), *own))


def _find(world: World, rng: np.random.Generator) -> Question:
    searches, likeness = world.searches, world.vocabulary.likeness
    number = int(rng.choice(np.flatnonzero(searches.kind == "type")))
    serves: NDArray[np.bool_] = world.catalogue.type == searches.target[number]
    for asked in searches.asked[number][searches.asked[number] >= 0]:
        serves = serves & (likeness[asked, world.catalogue.slots].max(axis=1) >= SERVED)
    text = _pick(FIND, rng).format(words=str(searches.text[number]))
    return Question(text, "find", tuple(str(key) for key in world.items["key"][serves]))


def _foreign(world: World) -> list[str]:
    """What is sold elsewhere: nouns of domains that this world does not have."""
    own = {kind.domain for kind in world.vocabulary.types}
    others = [domain for domain in DOMAINS if domain not in own]
    if not others:
        return []
    known = {noun.lower() for kind in world.vocabulary.types for noun in (*kind.nouns, *kind.titles)}
    elsewhere = load_vocabulary(tuple(others), world.vocabulary.language)
    return [noun.lower() for kind in elsewhere.types for noun in kind.nouns if noun.lower() not in known]


def _require_english(world: World) -> None:
    if world.vocabulary.language != "en":
        raise ConfigError(
            f"data.source.language={world.vocabulary.language}: the marketplace's questions are in English (of "
            f"{', '.join(LANGUAGES)}); give questions=FILE and reviews=FILE."
        )


def _pick(phrases: Sequence[str], rng: np.random.Generator) -> str:
    return phrases[int(rng.integers(len(phrases)))]
