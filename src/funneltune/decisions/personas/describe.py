"""Who a persona is: its size, its rates and spending after the past that made it, what it likes, its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.personas.blocks import relative_price
from funneltune.decisions.personas.visits import Known, Shop, Visits
from funneltune.decisions.personas.words import telling
from funneltune.metrics import Interval
from funneltune.metrics.intervals import clustered_mean

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
FEWEST = 5
"""Shoppers of a persona behind a word or a category that is told."""
CATEGORIES, WORDS = 3, 5
NAN = float("nan")
NOTHING = Interval(NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0, 0, "too few shoppers seen")


@dataclass(frozen=True)
class Persona:
    """One group of shoppers."""

    name: str
    size: int
    share: float
    """Of the shoppers that were grouped."""
    seen: int
    """Shoppers with a request in the rows that rates are measured on."""
    ctr: Interval
    cvr: Interval
    spend: Interval
    """Of a shopper of the persona, over these rows."""
    price: float
    """Of what it bought less what it was shown, for its category, in standard deviations of log prices; NaN: none."""
    categories: tuple[str, ...]
    searched: tuple[str, ...]
    clicked: tuple[str, ...]


def described(known: Known, labels: Integers, least: int) -> tuple[list[Persona], bool]:
    """Each persona, the largest first, and whether its rates are of the test split (else of the past).

    `least`: shoppers seen, fewer than which no rate is told.
    """
    after = known.after if _seen(known.after, labels) >= 0.5 * (labels >= 0).sum() else known.before
    tastes = _tellings(known, labels)
    prices = _price_levels(known.before, known.shop, labels)
    found = []
    for number in range(int(labels.max(initial=-1)) + 1):
        members = labels == number
        found.append(
            Persona(
                str(number + 1),
                int(members.sum()),
                float(members.mean()),
                *_rates(after, members, least),
                price=prices[number],
                categories=tastes[0][number],
                searched=tastes[1][number],
                clicked=tastes[2][number],
            )
        )
    return found, after is known.after


def _seen(visits: Visits, labels: Integers) -> int:
    seen = np.unique(visits.user[visits.user >= 0])
    return int((labels[seen] >= 0).sum())


def _rates(visits: Visits, members: NDArray[np.bool_], least: int) -> tuple[int, Interval, Interval, Interval]:
    """Shoppers seen; ctr, cvr and spending of a shopper, clustered by shopper."""
    mine = visits.where((visits.user >= 0) & members[np.maximum(visits.user, 0)])
    seen = len(np.unique(mine.user))
    if seen < least:
        return seen, NOTHING, NOTHING, NOTHING
    ctr, cvr, spend = clustered_mean(mine.click, mine.user), NOTHING, NOTHING
    if mine.purchase is not None:
        clicks = mine.where(mine.click > 0)
        if clicks.purchase is not None and len(np.unique(clicks.user)) >= least:
            cvr = clustered_mean(clicks.purchase, clicks.user)
        if mine.price is not None:
            paid = np.bincount(mine.user, weights=mine.purchase * np.nan_to_num(mine.price), minlength=len(members))
            each = paid[members]
            spend = clustered_mean(each, np.arange(len(each)))
    return seen, ctr, cvr, spend


def _price_levels(before: Visits, shop: Shop, labels: Integers) -> list[float]:
    """Of each persona the mean relative price of what it bought (clicked, where nothing is bought) less that of what it
    was shown.
    """
    price, k = relative_price(before, shop), int(labels.max(initial=-1)) + 1
    if price is None:
        return [float("nan")] * k
    label = np.where(before.user >= 0, labels[np.maximum(before.user, 0)], -1)
    taken = (before.click if before.purchase is None else before.purchase) > 0
    found = []
    for number in range(k):
        shown = label == number
        chosen = shown & taken
        found.append(float(price[chosen].mean() - price[shown].mean()) if chosen.any() else float("nan"))
    return found


# --- categories and words ------------------------------------------------------------------------------------------


def _tellings(known: Known, labels: Integers) -> tuple[list[tuple[str, ...]], ...]:
    """By persona: favourite categories, words of its searches, words of the titles of what it clicked."""
    before, shop, k = known.before, known.shop, int(labels.max(initial=-1)) + 1
    label = np.where(before.user >= 0, labels[np.maximum(before.user, 0)], -1)
    clicks = np.flatnonzero((before.click > 0) & (label >= 0))
    asked = np.unique(before.request, return_index=True)[1]
    asked = asked[label[asked] >= 0]
    nothing: list[tuple[str, ...]] = [()] * k
    categories = nothing
    if shop.category is not None:
        of = [(name,) for name in shop.categories]
        at = shop.category[before.item[clicks]]
        categories = _set_apart(at, of, before.user[clicks], label[clicks], k, CATEGORIES)
    searched = nothing
    if shop.query_words:
        at = before.query[asked]
        searched = _set_apart(at, shop.query_words, before.user[asked], label[asked], k, WORDS)
    at = before.item[clicks]
    clicked = _set_apart(at, shop.item_words, before.user[clicks], label[clicks], k, WORDS)
    return categories, searched, clicked


def _set_apart(
    what: Integers, words_of: Sequence[Sequence[str]], user: Integers, label: Integers, k: int, most: int
) -> list[tuple[str, ...]]:
    """The words of events (each names a text by `what`) that each label uses more than the others."""
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(w for words in words_of for w in words))}
    if not vocabulary or not len(what):
        return [()] * k
    lists = [np.array([vocabulary[word] for word in words], dtype=np.int64) for words in words_of]
    words = np.concatenate([lists[one] for one in what])
    times = np.array([len(lists[one]) for one in what])
    size, of_label, of_user = len(vocabulary), np.repeat(label, times), np.repeat(user, times)
    counts = np.bincount(of_label * size + words, minlength=k * size).reshape(k, size).astype(np.float64)
    pairs = np.unique(np.stack([of_label * size + words, of_user]), axis=1)[0]
    users = np.bincount(pairs, minlength=k * size).reshape(k, size).astype(np.float64)
    names = list(vocabulary)
    return [
        tuple(f"{names[one.place]} (x{one.times:.1f})" for one in of_one)
        for of_one in telling(counts, users, FEWEST, most)
    ]
