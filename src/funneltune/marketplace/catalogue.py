"""The items on sale: what they are, how they are titled, what they cost, what they look like.

Attributes stand in six slots (material, colour, style, size and two features; -1 where there is none); a title states
some of them, a photograph shows the colour, and the product page tells all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from funneltune.marketplace.vocabulary import DIMENSIONS, Vocabulary

VECTOR_WIDTH = 32
TASTE_WIDTH = 8
SLOTS = (*DIMENSIONS, "feature")
COLOUR_SLOT = SLOTS.index("colour")
_SLOT_CHANCE = (0.85, 0.8, 0.45, 0.4, 0.7, 0.25)
_TITLE_CHANCE = (0.85, 0.75, 0.8, 0.9, 0.9, 0.7)
_MOST_IN_TITLE = 3
_PRICE_SPREAD = 0.45  # standard deviation of log price within a type
_LOUD_BRANDS = 0.25  # share of brands that put their name into titles


@dataclass(frozen=True)
class Catalogue:
    """Items as columns; every array has one entry per item."""

    title: NDArray[np.str_]
    type: NDArray[np.int16]
    brand: NDArray[np.int16]
    seller: NDArray[np.int16]
    slots: NDArray[np.int16]  # (items, 6) attribute numbers, -1 none
    shown: NDArray[np.int16]  # (items, 6) as slots, -1 also where neither title nor photograph shows it
    price: NDArray[np.float32]
    relative_price: NDArray[np.float32]  # log price against its type's median, in standard deviations
    quality: NDArray[np.float32]  # about standard normal
    rating: NDArray[np.float32]
    reviews: NDArray[np.int32]
    popularity: NDArray[np.int32]  # rank, 0 the most popular
    launched: NDArray[np.float32]  # day of the log; 0 or less: on sale from the start
    stock: NDArray[np.int32]  # what a restock fills up to
    vectors: NDArray[np.float32]  # (items, 32) stand-in for an image
    tastes: NDArray[np.float32]  # (items, 8) what tastes respond to, a fixed projection of the vectors

    def __len__(self) -> int:
        return len(self.title)

    @cached_property
    def by_popularity(self) -> NDArray[np.int64]:
        """Item numbers, the most popular first."""
        return np.argsort(self.popularity, kind="stable")


def build_catalogue(
    vocabulary: Vocabulary, rng: np.random.Generator, items: int, page: int, days: int, cold_share: float
) -> Catalogue:
    """A catalogue of `items`; at least a page of them is on sale from the first day."""
    kinds = len(vocabulary.types)
    type_weight = rng.lognormal(0.0, 0.5, kinds)
    kind = rng.choice(kinds, size=items, p=type_weight / type_weight.sum()).astype(np.int16)
    brand, brand_quality, loud = _brands(vocabulary, rng, kind)
    slots = _slots(vocabulary, rng, kind)
    quality = (0.6 * brand_quality[brand] + 0.8 * rng.standard_normal(items)).astype(np.float32)
    relative_price = (0.3 * quality + 0.95 * rng.standard_normal(items)).astype(np.float32)
    _state_price_level(vocabulary, rng, slots, relative_price)
    median = np.array([each.price for each in vocabulary.types])[kind]
    price = np.round(median * np.exp(_PRICE_SPREAD * relative_price), 2).astype(np.float32)
    # Popular items are somewhat better: a rank is quality and luck.
    luck = rng.standard_normal(items) + 0.3 * quality
    popularity = np.empty(items, dtype=np.int32)
    popularity[np.argsort(-luck, kind="stable")] = np.arange(items, dtype=np.int32)
    rating = np.clip(4.1 + 0.35 * quality + 0.2 * rng.standard_normal(items), 1.0, 5.0).round(1).astype(np.float32)
    renown = items / (popularity + 20.0)
    reviews = np.floor(renown * rng.lognormal(1.0, 0.8, items)).astype(np.int32)
    cold = rng.permutation(items)[: min(int(cold_share * items), items - page)]
    launched = np.zeros(items, dtype=np.float32)
    launched[cold] = rng.uniform(0.65, 0.98, len(cold)) * days
    reviews[cold] = 0
    titles, shown = _titles(vocabulary, rng, kind, slots, brand, loud)
    vectors = _vectors(vocabulary, rng, kind, slots)
    tastes = vectors @ (rng.standard_normal((VECTOR_WIDTH, TASTE_WIDTH)) / np.sqrt(VECTOR_WIDTH)).astype(np.float32)
    return Catalogue(
        title=titles,
        type=kind,
        brand=brand,
        seller=rng.integers(0, max(1, items // 40), items).astype(np.int16),
        slots=slots,
        shown=shown,
        price=price,
        relative_price=relative_price,
        quality=quality,
        rating=rating,
        reviews=reviews,
        popularity=popularity,
        launched=launched,
        stock=np.maximum(1, 3.0 * renown**0.5 * rng.lognormal(0.0, 0.5, items)).astype(np.int32),
        vectors=vectors,
        tastes=((tastes - tastes.mean(0)) / (tastes.std(0) + 1e-6)).astype(np.float32),
    )


def _brands(
    vocabulary: Vocabulary, rng: np.random.Generator, kind: NDArray[np.int16]
) -> tuple[NDArray[np.int16], NDArray[np.float64], NDArray[np.bool_]]:
    """A brand of the right domain for each item, how good each brand is, and which put their name into titles."""
    domain_of_brand = np.array([domain for domain, _ in vocabulary.brands])
    domain_of_item = np.array([each.domain for each in vocabulary.types])[kind]
    brand = np.zeros(len(kind), dtype=np.int16)
    for domain in np.unique(domain_of_item):
        rows = np.flatnonzero(domain_of_item == domain)
        choices = np.flatnonzero(domain_of_brand == domain)
        weight = 1.0 / np.arange(1, len(choices) + 1) ** 0.7
        brand[rows] = rng.choice(choices, size=len(rows), p=weight / weight.sum())
    count = len(vocabulary.brands)
    return brand, rng.standard_normal(count), rng.random(count) < _LOUD_BRANDS


def _slots(vocabulary: Vocabulary, rng: np.random.Generator, kind: NDArray[np.int16]) -> NDArray[np.int16]:
    slots = np.full((len(kind), len(SLOTS)), -1, dtype=np.int16)
    present = rng.random(slots.shape) < np.array(_SLOT_CHANCE)
    for number in np.unique(kind):
        rows = np.flatnonzero(kind == number)
        palette = vocabulary.palettes[vocabulary.types[number].palette]
        for slot, dimension in enumerate(SLOTS):
            if palette[dimension]:
                slots[rows, slot] = rng.choice(palette[dimension], size=len(rows))
    slots[~present] = -1
    slots[slots[:, 5] == slots[:, 4], 5] = -1
    return slots


def _state_price_level(
    vocabulary: Vocabulary, rng: np.random.Generator, slots: NDArray[np.int16], relative_price: NDArray[np.float32]
) -> None:
    """Some cheap items call themselves so, some dear ones too, in place of their second feature."""
    says = rng.random(len(slots)) < 0.4
    slots[says & (relative_price < -1.0), 5] = vocabulary.attribute_number["budget"]
    slots[says & (relative_price > 1.0), 5] = vocabulary.attribute_number["premium"]


def _titles(
    vocabulary: Vocabulary,
    rng: np.random.Generator,
    kind: NDArray[np.int16],
    slots: NDArray[np.int16],
    brand: NDArray[np.int16],
    loud: NDArray[np.bool_],
) -> tuple[NDArray[np.str_], NDArray[np.int16]]:
    """Each item's title, and its slots as far as title and photograph show them."""
    stated = (slots >= 0) & (rng.random(slots.shape) < np.array(_TITLE_CHANCE))
    order = np.argsort(rng.random(slots.shape) - stated, axis=1)
    stated &= np.argsort(order, axis=1) < _MOST_IN_TITLE
    pick = rng.random((len(kind), len(SLOTS) + 2))
    titles = []
    for row in range(len(kind)):
        words = {
            slot: _pick(vocabulary.attributes[slots[row, slot]].titles, pick[row, slot])
            for slot in np.flatnonzero(stated[row])
        }
        noun = _pick(vocabulary.types[kind[row]].titles, pick[row, 6])
        phrase = _phrase_title_zh if vocabulary.language == "zh" else _phrase_title
        title = phrase(noun, {int(slot): word for slot, word in words.items()}, pick[row, 7])
        titles.append(f"{vocabulary.brands[brand[row]][1]} {title}" if loud[brand[row]] else title)
    stated[:, COLOUR_SLOT] = True
    return np.array(titles), np.where(stated, slots, np.int16(-1))


def _phrase_title(noun: str, words: dict[int, str], form: float) -> str:
    """Lay the stated words around the noun, as one of three kinds of sellers would."""
    material, colour, style = (words.get(slot, "") for slot in range(3))
    rest = [words[slot] for slot in (3, 4, 5) if slot in words]
    tail = [word for word in rest if word.startswith(("with ", "on ", "Set ", "Pair"))]
    rest = [word for word in rest if word not in tail]
    if form < 0.4:  # "Retro Velvet Loveseat, Compact, Grey"
        before, after = [style, material, noun], [*rest, colour]
    elif form < 0.75:  # "Compact Grey Velvet Loveseat, Retro"
        before, after = [*rest[:1], colour, material, noun], [style, *rest[1:]]
    else:  # "Retro Loveseat in Grey Velvet, Compact"
        fabric = " ".join(filter(None, [colour, material]))
        before, after = [style, noun, f"in {fabric}" if fabric else ""], rest
    if tail and tail[0].startswith(("with ", "on ")):
        before.append(tail.pop(0))
    return ", ".join(filter(None, [" ".join(filter(None, before)), *after, *tail]))


def _phrase_title_zh(noun: str, words: dict[int, str], form: float) -> str:
    """A title as Chinese sellers write it: all before the noun and without blanks, or keywords behind."""
    material, colour, style = (words.get(slot, "") for slot in range(3))
    rest = [words[slot] for slot in (3, 4, 5) if slot in words]
    if form < 0.4:  # 法式丝绒双人沙发 小户型 灰色
        return " ".join(filter(None, [style + material + noun, *rest, colour]))
    if form < 0.75:  # 小户型灰色丝绒双人沙发 法式
        return " ".join(filter(None, ["".join(rest[:1]) + colour + material + noun, style, *rest[1:]]))
    return style + colour + material + "".join(rest) + noun  # 法式灰色丝绒小户型双人沙发


def _vectors(
    vocabulary: Vocabulary, rng: np.random.Generator, kind: NDArray[np.int16], slots: NDArray[np.int16]
) -> NDArray[np.float32]:
    """Image stand-ins: group + type + what can be seen of the attributes + noise, of about unit length."""

    def table(rows: int) -> NDArray[np.float64]:
        return np.asarray(rng.standard_normal((rows, VECTOR_WIDTH)) / np.sqrt(VECTOR_WIDTH))

    of_group, of_type = table(len(vocabulary.groups)), table(len(vocabulary.types))
    of_attribute = np.concatenate([table(len(vocabulary.attributes)), np.zeros((1, VECTOR_WIDTH))])
    scale = np.array([0.5, 0.7, 0.6, 0.3, 0.15, 0.15])
    seen = (of_attribute[slots] * scale[:, None]).sum(axis=1)
    vectors = 0.7 * of_group[vocabulary.type_group[kind]] + 0.6 * of_type[kind] + seen + 0.3 * table(len(kind))
    return np.asarray(vectors / 1.4, dtype=np.float32)


def _pick(words: Sequence[str], chance: float) -> str:
    return words[int(chance * len(words))]
