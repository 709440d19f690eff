"""Lists for shoppers who have not said what they look for, with and without their need.

Legend: n requests, I candidates, C categories, k places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from funneltune.data import Asked
from funneltune.decisions.need.log import Floats, Integers, Log, Moments, visits
from funneltune.decisions.scorer import Scorer
from funneltune.marketplace import world_requests
from funneltune.metrics.intervals import Interval, clustered_mean

SEARCHES = 30
"""The training's most frequent searches, over which the run's score without words is averaged."""
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
WITHOUT, BY_ALL, WITH, BY_HISTORY, BY_OWN, BY_TRUTH = (
    "without need",
    "with everyone's need",
    "with need",
    "with the model's need",
    "with own shares",
    "with the true need",
)
Tellers = Mapping[str, Callable[[Integers, Floats], Floats]]
"""Way -> (n,) shoppers and times to (n, C)."""


@dataclass(frozen=True)
class Lists:
    """What the first k places bring."""

    candidates: Integers
    """(I,) items."""
    base: Floats
    """(I,) p(click and purchase), whoever asks."""
    weights: dict[str, float]
    """Way -> the exponent of need / prior, chosen on validation moments."""
    curve: list[tuple[float, float]]
    """Weight -> mean log-probability of the validation moments' next items, with need."""
    bought: dict[str, Floats]
    """Way -> (moments,) 1 where the shopper's next purchase stands in the list."""
    moments_user: Integers
    purchases: dict[str, Floats]
    """Way -> (n,) purchases that the world expects of the list, were it shown; empty where no one knows."""
    user: Integers
    """(n,)."""

    def mean(self, way: str, measure: str) -> Interval:
        """Per list: `bought` or `purchases`, clustered by shopper."""
        return clustered_mean(*self._of(way, measure))

    def gain(self, way: str, measure: str, over: str = WITHOUT) -> Interval:
        """Over the list of another way: by default the run's own, which no need has ranked again."""
        values, user = self._of(way, measure)
        return clustered_mean(values - self._of(over, measure)[0], user)

    def _of(self, way: str, measure: str) -> tuple[Floats, Integers]:
        return (self.bought[way], self.moments_user) if measure == "bought" else (self.purchases[way], self.user)


def make_lists(
    scorer: Scorer,
    log: Log,
    prior: Floats,
    tellers: Tellers,
    validation: Moments,
    test: Moments,
    *,
    truth: tuple[Integers, Floats] | None,
    places: int,
    depth: int,
    most: int | None,
) -> Lists:
    """Score' = score x (need of the category / prior) ** weight, judged on the test split.

    Args:
        scorer: The run.
        log: Its categories.
        prior: (C,) what everyone buys.
        tellers: What tells needs: `WITH`, and any others.
        validation: The moments that choose the weights.
        test: The moments whose next purchase is looked for in the lists.
        truth: Of the marketplace, (U,) shoppers in ascending order and (U, C) their true needs.
        places: K.
        depth: I.
        most: Lists are shown to the first so many test requests; None: all.
    """
    candidates = np.sort(np.argsort(-scorer.catalogue.popularity, kind="stable")[:depth])
    candidates = candidates[scorer.catalogue.shown[candidates] > 0]
    base = without_words(scorer, candidates)
    category = log.category[candidates]
    said = {way: tell(validation.user, validation.time) for way, tell in tellers.items()}
    everyone = said[WITH].mean(axis=0)
    tried = {BY_ALL: np.broadcast_to(everyone, said[WITH].shape), **said}
    if truth is not None:
        tried[BY_TRUTH] = _looked_up(truth, validation.user, prior)
    curves = {way: _curve(base, p / prior, category, candidates, validation) for way, p in tried.items()}
    weights = {way: max(curve, key=lambda of: (of[1], -of[0]))[0] for way, curve in curves.items()}
    weights = {WITHOUT: 0.0, **weights}

    requests, user, time = visits(scorer, "test", most)
    bought = {}
    for way, p in _said(prior, tellers, everyone, truth, test.user, test.time).items():
        shown = _top(base, p / prior, category, weights[way], places)
        bought[way] = (candidates[shown] == test.item[:, None]).any(axis=1).astype(np.float64)
    purchases: dict[str, Floats] = {}
    if truth is not None:
        world = world_requests(scorer.folder, scorer.assembly.data.store.column("request")[_rows(scorer, requests)])
        for way, p in _said(prior, tellers, everyone, truth, user, time).items():
            pages = candidates[_top(base, p / prior, category, weights[way], places)]
            came = world.outcomes(pages)
            of_page = (came.p_click * came.p_purchase_given_click).astype(np.float64)
            purchases[way] = of_page.sum(axis=1)
    return Lists(candidates, base, weights, curves[WITH], bought, test.user, purchases, user)


def without_words(scorer: Scorer, items: Integers) -> Floats:
    """(I,) the run's last rate of each item where nobody has said a word and nobody is known: its mean over the
    training's most frequent searches, by how often each was made; of a run that reads no words, without one.
    """
    data, store = scorer.assembly.data, scorer.assembly.data.store
    last = scorer.rates[-1]
    if data.interaction == "none" or "query" not in data.texts:
        return scorer.score([Asked()], [items])[0][last]
    query = store.column("query")[_rows(scorer, np.sort(data.requests("train")))]
    words = np.array(store.text("queries", data.texts["query"]), dtype=object)
    number, times = np.unique(query, return_counts=True)
    chosen = number[np.argsort(-times, kind="stable")[:SEARCHES]]
    share = times[np.argsort(-times, kind="stable")[:SEARCHES]] / np.sort(times)[::-1][:SEARCHES].sum()
    said = scorer.score([Asked(query=str(words[one])) for one in chosen], [items] * len(chosen))
    return np.asarray(sum(w * of[last] for w, of in zip(share, said, strict=True)), dtype=np.float64)


def _said(
    prior: Floats,
    tellers: Tellers,
    everyone: Floats,
    truth: tuple[Integers, Floats] | None,
    user: Integers,
    time: Floats,
) -> dict[str, Floats]:
    """Way -> (n, C)."""
    found = {
        WITHOUT: np.broadcast_to(prior, (len(user), len(prior))),
        BY_ALL: np.broadcast_to(everyone, (len(user), len(prior))),
        **{way: tell(user, time) for way, tell in tellers.items()},
    }
    return found if truth is None else found | {BY_TRUTH: _looked_up(truth, user, prior)}


def _looked_up(truth: tuple[Integers, Floats], user: Integers, prior: Floats) -> Floats:
    """(n, C); the prior of a shopper whose truth was not asked for."""
    known, shares = truth
    place = np.minimum(np.searchsorted(known, user), len(known) - 1)
    return np.where((known[place] == user)[:, None], shares[place], prior)


def _curve(
    base: Floats, lift: Floats, category: Integers, candidates: Integers, told: Moments
) -> list[tuple[float, float]]:
    """For each weight: the mean of log p(next item) where the lists' scores are shares."""
    place = np.minimum(np.searchsorted(candidates, told.item), len(candidates) - 1)
    rows = np.flatnonzero(candidates[place] == told.item)
    log_base = np.log(np.maximum(base, 1e-12))
    log_lift = np.log(np.maximum(lift[rows], 1e-9))[:, category]
    found = []
    for weight in WEIGHTS:
        score = log_base + weight * log_lift
        highest = score.max(axis=1, keepdims=True) if len(rows) else np.zeros((0, 1))
        log_p = score - highest - np.log(np.exp(score - highest).sum(axis=1, keepdims=True))
        found.append((weight, float(log_p[np.arange(len(rows)), place[rows]].mean()) if len(rows) else 0.0))
    return found


def _top(base: Floats, lift: Floats, category: Integers, weight: float, places: int) -> Integers:
    """(n, k) places in the candidates, best first."""
    score = base * lift[:, category] ** weight
    return np.argsort(-score, axis=1, kind="stable")[:, :places]


def _rows(scorer: Scorer, requests: Integers) -> Integers:
    """The first row of each request."""
    return scorer.assembly.data.store.request_offsets[requests]
