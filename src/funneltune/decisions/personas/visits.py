"""What a log tells of its shoppers: the rows before the test split that made them, and those after it.

Legend: rows are impressions; items and queries are numbered as the log numbers them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data.lexical import cjk_pairs
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
WORD = re.compile(r"\w\w+")
WIDTH = 32
"""Components of item vectors at most."""


@dataclass(frozen=True)
class Visits:
    """Impressions as columns."""

    user: Integers
    """Place of the shopper among those that are grouped; -1 of others."""
    request: Integers
    query: Integers
    item: Integers
    click: Floats
    purchase: Floats | None
    """None where the log has one event only."""
    price: Floats | None
    """None where the log tells no prices."""

    def __len__(self) -> int:
        """Rows."""
        return len(self.user)

    def where(self, rows: NDArray[Any]) -> Visits:
        """Some of the rows."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        taken: dict[str, Any] = {name: None if value is None else value[rows] for name, value in columns.items()}
        return Visits(**taken)

    def halves(self) -> tuple[Visits, Visits]:
        """Every other request of each shopper, and the rest."""
        requests, first, place = np.unique(self.request, return_index=True, return_inverse=True)
        user = self.user[first]
        order = np.lexsort((requests, user))
        starts = np.r_[0, np.flatnonzero(np.diff(user[order])) + 1]
        turn = np.empty(len(requests), dtype=np.int64)
        turn[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        odd = (turn % 2 == 1)[place]
        return self.where(~odd), self.where(odd)

    def periods(self) -> tuple[Visits, Visits]:
        """The first half of all requests, and the second."""
        late = self.request > np.median(np.unique(self.request))
        return self.where(~late), self.where(late)


@dataclass(frozen=True)
class Shop:
    """What is known of items and queries."""

    vectors: Floats | None
    """(items, components) of unit variance; None where items have no vectors."""
    vectors_of: str
    """Where these come from, in words."""
    category: Integers | None
    """Of each item; None where the log tells none."""
    categories: tuple[str, ...]
    item_words: tuple[tuple[str, ...], ...]
    query_words: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Known:
    """The shoppers with a past, what they did before the test split and in it."""

    shoppers: tuple[str, ...]
    """The log's identifiers."""
    numbers: Integers
    """In the log."""
    before: Visits
    after: Visits
    shop: Shop
    unknown: int
    """Shoppers of the log with too little of a past."""
    left_out: int
    """Shoppers beyond the most that are grouped."""
    events: tuple[str, str]
    """What the log calls a click and a purchase; the second empty where there is none."""


def known_shoppers(scorer: Scorer, past: int, most: int, least: int, seed: int) -> Known:
    """The shoppers who clicked `past` times or more before the test split; at most `most`, drawn at random.

    Raises:
        DataError: if the log tells no shoppers, or fewer than `least` have a past.
    """
    data, store = scorer.assembly.data, scorer.assembly.data.store
    keys = [str(key) for key in store.table("users").column("key").to_pylist()]
    if len(keys) < 2:
        raise DataError(
            f"run={scorer.folder}: its log has no shopper column (data.source.user), so that there is nobody to group."
        )
    binary = data.funnel.binary
    click, buy = binary[0].name, binary[-1].name if len(binary) > 1 else ""
    rows = np.sort(np.concatenate([data.rows("train"), data.rows("validation")]))
    before, after = _visits(store, rows, click, buy), _visits(store, data.rows("test"), click, buy)
    clicks = np.bincount(before.user, weights=before.click, minlength=len(keys))
    clicks[[number for number, key in enumerate(keys) if not key]] = 0
    there = np.flatnonzero(clicks >= past)
    if len(there) < least:
        raise DataError(
            f"run={scorer.folder}: {len(there)} shoppers have {past} or more of {click!r} before the test split, and "
            f"personas need {least} (two of min_size={least // 2}); lower past or min_size, or take a longer log."
        )
    chosen = np.sort(np.random.default_rng((seed, 1)).permutation(there)[:most])
    place = np.full(len(keys), -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    before, after = (replace(one, user=place[one.user]) for one in (before, after))
    return Known(
        shoppers=tuple(keys[number] for number in chosen),
        numbers=chosen,
        before=before,
        after=after.where(after.user >= 0),
        shop=_shop(scorer),
        unknown=int((clicks < past).sum()),
        left_out=len(there) - len(chosen),
        events=(click, buy),
    )


def words_of(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The distinct words of each text, lower-cased; Chinese, Japanese and Korean as pairs of characters."""
    return tuple(tuple(dict.fromkeys(WORD.findall(cjk_pairs(text).lower()))) for text in texts)


def components(vectors: NDArray[Any], most: int = WIDTH) -> Floats:
    """Principal components of item vectors, each of unit variance; those without any variance are left out."""
    centred = np.asarray(vectors, dtype=np.float64) - np.mean(vectors, axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    kept = min(most, int((singular > 1e-6 * max(singular[0], 1e-12)).sum()))
    return np.asarray(left[:, :kept] * np.sqrt(len(centred)))


def _visits(store: Any, rows: Integers, click: str, buy: str) -> Visits:
    def column(name: str, kind: Any) -> NDArray[Any]:
        return np.asarray(store.column(name)[rows], dtype=kind)

    clicked = column(click, np.float64) == 1
    return Visits(
        user=column("user", np.int64),
        request=store.requests_of(rows),
        query=column("query", np.int64),
        item=column("item", np.int64),
        click=clicked.astype(np.float64),
        purchase=(clicked & (column(buy, np.float64) == 1)).astype(np.float64) if buy else None,
        price=column("price", np.float64) if store.has("price") else None,
    )


def _shop(scorer: Scorer) -> Shop:
    store, texts = scorer.assembly.data.store, scorer.assembly.data.texts or {}
    items = store.table("items")
    category, names = None, ()
    if "category" in items.column_names:
        told = np.array([str(value or "none") for value in items.column("category").to_pylist()])
        found, category = np.unique(told, return_inverse=True)
        names = tuple(found.tolist())
    vectors, where = _item_vectors(scorer)
    queries = store.text("queries", texts["query"]) if "query" in texts else []
    return Shop(vectors, where, category, names, words_of(scorer.catalogue.titles), words_of(queries))


def _item_vectors(scorer: Scorer) -> tuple[Floats | None, str]:
    """The log's own vectors of items, else the run's of their texts."""
    names = sorted(path.stem.removeprefix("vectors-") for path in scorer.assembly.data.store.folder.glob("vectors-*"))
    if names:
        found = [np.asarray(scorer.assembly.data.store.vectors(name)) for name in names]
        return components(np.concatenate(found, axis=1)), f"the log's vectors of items ({', '.join(names)})"
    try:
        return components(scorer.item_vectors), "the run's vectors of the items' texts"
    except ConfigError:  # it reads no texts
        return None, ""
