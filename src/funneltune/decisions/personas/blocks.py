"""Shopper vectors, block by block, each weighed by how well half of a shopper's requests tell of the other half.

Legend: n shoppers, d numbers of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.personas.tastes import Evidence, effects, evidence, expected_rates
from funneltune.decisions.personas.visits import Known, Shop, Visits

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SHUFFLES = 199
LEVEL = 0.95
WORDS = 300
"""Words of searches, the most frequent, that are counted."""


@dataclass(frozen=True)
class Block:
    """One kind of thing that shoppers differ in."""

    name: str
    values: Floats
    """(n, d), shrunk to the mean by how little is known of a shopper."""
    reliability: float
    """From 0 to 1: of the whole past, by Spearman and Brown's formula 2r / (1 + r) from the correlation of halves."""
    correlation: float
    """Of two halves of each shopper's requests, over all numbers of the block."""
    by_chance: float
    """The correlation that shuffled shoppers stay below in 95 of 100 cases."""

    @property
    def weight(self) -> float:
        """Variance of its first component in the vectors: nothing where the halves agree by chance only."""
        return self.reliability if self.correlation > self.by_chance else 0.0

    @property
    def scaled(self) -> Floats:
        """Centred, of the variance `weight` along its first component.

        As in multiple factor analysis (Escofier & Pages 1994): a block of many numbers does not drown one of few, and
        one that holds several kinds of difference keeps them all.
        """
        centred = self.values - self.values.mean(axis=0)
        first = float(np.linalg.norm(centred, ord=2)) / np.sqrt(len(centred))
        return np.asarray(centred * (np.sqrt(self.weight) / first)) if first > 0 else centred


def blocks_of(known: Known, names: Sequence[str], seed: int) -> list[Block]:
    """The blocks that the log has what they need for."""
    n, shop, rng = len(known.shoppers), known.shop, np.random.default_rng((seed, 2))
    halves = known.before.halves()
    found: list[Block] = []
    if {"tastes", "prices"} & set(names):
        found += _liked(known, names, rng)
    makers: dict[str, Callable[[Visits], Floats] | None] = {
        "categories": None if shop.category is None else lambda of: _categories(of, shop, n),
        "rates": lambda of: _rates(of, n),
        "words": None if not shop.query_words else _word_counter(known.before, shop, n),
    }
    for name, counts in makers.items():
        if name in names and counts is not None:
            found.append(_shares(name, [counts(of) for of in (known.before, *halves)], rng))
    if "activity" in names:
        early, late = known.before.periods()
        values = [np.log1p(_requests(of, n))[:, None] for of in (known.before, early, late)]
        found.append(_block("activity", values, rng))
    return [block for block in found if block.values.shape[1]]


def _block(name: str, values: Sequence[Floats], rng: np.random.Generator) -> Block:
    """From the values of all requests and of both halves."""
    whole, one, other = values
    correlation = _agreement(one, other)
    chance = [_agreement(one, other[rng.permutation(len(other))]) for _ in range(SHUFFLES)]
    reliability = max(0.0, 2 * correlation / (1 + correlation)) if correlation > -1 else 0.0
    return Block(name, whole, reliability, correlation, float(np.quantile(chance, LEVEL)))


def _agreement(one: Floats, other: Floats) -> float:
    """Correlation of two halves' vectors: tr cov(a, b) / sqrt(tr var a, tr var b); 0 where there is no variance."""
    a, b = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / scale) if scale > 1e-9 * max(a.size, 1) else 0.0


# --- tastes and prices ---------------------------------------------------------------------------------------------


def _liked(known: Known, names: Sequence[str], rng: np.random.Generator) -> list[Block]:
    """What shoppers click and buy of what they are shown: by items' vectors, and by price for its category."""
    shop, before, n = known.shop, known.before, len(known.shoppers)
    width = 0 if shop.vectors is None else shop.vectors.shape[1]
    price = relative_price(before, shop)
    parts = ([] if shop.vectors is None else [shop.vectors[before.item]]) + ([] if price is None else [price[:, None]])
    if not parts:
        return []
    properties = np.concatenate(parts, axis=1)
    pair = before.query if shop.category is None else before.query * len(shop.categories) + shop.category[before.item]
    own = [before.item if shop.category is None else shop.category[before.item], before.query, pair]
    asked = [(np.ones(len(before), dtype=bool), before.click)]
    if before.purchase is not None and before.purchase.sum() >= n:
        asked.append((before.click > 0, before.purchase))
    found: list[list[Floats]] = [[], [], []]
    for rows, happened in asked:
        chance = expected_rates(happened[rows], [key[rows] for key in own])
        for place, part in enumerate(_parts(before.where(rows), properties[rows], happened[rows], chance, n)):
            found[place].append(effects(part))
    both = [np.stack(of, axis=1) for of in found]  # (n, events, d)
    blocks = []
    if "tastes" in names and width:
        blocks.append(_block("tastes", [of[:, :, :width].reshape(n, -1) for of in both], rng))
    if "prices" in names and price is not None:
        blocks.append(_block("prices", [of[:, :, width] for of in both], rng))
    return blocks


def _parts(visits: Visits, properties: Floats, happened: Floats, chance: Floats, n: int) -> list[Evidence]:
    """The evidence of all rows and of each half of them."""
    numbered = Visits(visits.user, visits.request, visits.query, np.arange(len(visits)), visits.click, None, None)
    rows = [half.item for half in numbered.halves()]
    one, other = (evidence(visits.user[at], properties[at], happened[at], chance[at], n) for at in rows)
    both = Evidence(one.gradient + other.gradient, one.information + other.information)
    return [both, one, other]


def relative_price(visits: Visits, shop: Shop) -> Floats | None:
    """Log price of each row against its category's mean, in standard deviations; None where all is one price."""
    if visits.price is None:
        return None
    logs = np.log(np.maximum(visits.price, 1e-6))
    logs = np.where(np.isfinite(logs), logs, np.nan)
    category = np.zeros(len(visits), dtype=np.int64) if shop.category is None else shop.category[visits.item]
    known = np.isfinite(logs)
    count = np.bincount(category[known], minlength=category.max(initial=0) + 1)
    mean = np.bincount(category[known], weights=logs[known], minlength=len(count)) / np.maximum(count, 1)
    apart = np.where(known, logs - mean[category], 0.0)
    spread = float(apart.std())
    return np.asarray(apart / spread) if spread > 1e-9 else None


# --- shares --------------------------------------------------------------------------------------------------------


def _requests(visits: Visits, n: int) -> Floats:
    first = np.unique(visits.request, return_index=True)[1]
    user = visits.user[first]
    return np.bincount(user[user >= 0], minlength=n).astype(np.float64)


def _categories(visits: Visits, shop: Shop, n: int) -> Floats:
    """(n, categories): clicks."""
    assert shop.category is not None
    rows = np.flatnonzero((visits.click > 0) & (visits.user >= 0))
    return counted(visits.user[rows], shop.category[visits.item[rows]], n, len(shop.categories))


def _rates(visits: Visits, n: int) -> Floats:
    """(n, 3): impressions passed by, clicks without a purchase, purchases."""
    rows = np.flatnonzero(visits.user >= 0)
    click = visits.click[rows] > 0
    kind = click.astype(np.int64)
    if visits.purchase is not None:
        kind += click & (visits.purchase[rows] > 0)
    return counted(visits.user[rows], kind, n, 2 if visits.purchase is None else 3)


def _word_counter(before: Visits, shop: Shop, n: int) -> Callable[[Visits], Floats]:
    """Counts the most frequent words of searches."""
    query = before.query[np.unique(before.request, return_index=True)[1]]
    asked = np.bincount(query, minlength=len(shop.query_words))
    total: dict[str, int] = {}
    for number in np.flatnonzero(asked):
        for word in shop.query_words[number]:
            total[word] = total.get(word, 0) + int(asked[number])
    kept = {word: place for place, word in enumerate(sorted(total, key=lambda word: (-total[word], word))[:WORDS])}
    numbers = [[kept[word] for word in words if word in kept] for words in shop.query_words]

    def counts(visits: Visits) -> Floats:
        first = np.unique(visits.request, return_index=True)[1]
        first = first[visits.user[first] >= 0]
        query = visits.query[first]
        words = np.concatenate([np.array(numbers[one], dtype=np.int64) for one in query] or [np.zeros(0, np.int64)])
        user = np.repeat(visits.user[first], [len(numbers[one]) for one in query])
        return counted(user, words, n, len(kept))

    return counts


def counted(user: Integers, what: Integers, n: int, kinds: int) -> Floats:
    """(n, kinds): how often each shopper had each kind."""
    found = np.bincount(user * kinds + what, minlength=n * kinds) if kinds else np.zeros(0)
    return found.reshape(n, kinds).astype(np.float64)


def _shares(name: str, counts: Sequence[Floats], rng: np.random.Generator) -> Block:
    """A block of shares: of categories, of words, of what came of impressions."""
    return _block(name, [shares(of) for of in counts], rng)


def shares(counts: Floats) -> Floats:
    """(share - everyone's) / sqrt(everyone's) of each kind, after shrinking each shopper's shares to everyone's.

    The metric of chi-square, as in correspondence analysis. Shares are Dirichlet around everyone's (Mosimann 1962);
    how tightly is told by how much Pearson's chi-square exceeds that of shoppers who do not differ at all: its excess
    over (n_u - 1)(kinds - 1) is the correlation rho, and own shares weigh n_u / (n_u + (1 - rho) / rho).
    """
    share = counts.sum(axis=0) / max(counts.sum(), 1.0)
    kinds = np.maximum(share, 1e-12)
    size = counts.sum(axis=1, keepdims=True)
    apart = counts - size * share
    freedom = float((share > 0).sum()) - 1
    square = float((apart**2 / np.maximum(size * kinds, 1e-12)).sum())
    more = float(np.maximum(size - 1, 0).sum()) * freedom
    rho = (square - float((size > 0).sum()) * freedom) / more if more > 0 else 0.0
    if rho <= 0:
        return np.zeros_like(counts)
    rho = min(rho, 1 - 1e-9)
    return np.asarray(apart / (size + (1 - rho) / rho) / np.sqrt(kinds))
