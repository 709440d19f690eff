"""A run as it is served: what a request names, checked and turned into work for the model, and back into words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data import Asked
from funneltune.decisions import Recommended, Request
from funneltune.decisions.candidates import Candidates
from funneltune.decisions.recommend import Competing
from funneltune.errors import RunError
from funneltune.serving.batching import Job, Rates, ScorerLike
from funneltune.serving.fields import in_words
from funneltune.serving.guard import Refused
from funneltune.serving.rankings import ALL, Rankings
from funneltune.serving.strict import shown
from funneltune.serving.wire import ExplainRequest, Pair, RankRequest, ScoreRequest, Side

Integers = NDArray[np.int64]
Finish = Callable[[Sequence[Rates]], dict[str, Any]]
SMALL = 2000
"""Items up to which every one competes where a request does not say otherwise; of more, candidates are found first."""
TOLD = ("brand", "category", "seller", "product_type", "rating")
"""Columns of items that a list shows, where the log has them; else its first few of few letters."""


class ServedRun:
    """One run behind the server.

    Args:
        side: `a` or `b`.
        name: What people call it.
        scorer: `decisions.Scorer`, or what answers as it does.
        ways: Name -> a way of finding candidates.
        calibrations: Name -> the scorer in that calibration.
        named: Name -> a ranking's settings, as a file of configs/ranking has them.
        explain: (asked, item, rate) -> an explanation in JSON; None: the run cannot be explained.
        labels: Rate -> what it is the probability of, for people.
        reads_query: Whether its probabilities depend on the words.
        reads_user: Whether they depend on the shopper.
        sees_all: Whether all items compete where a request does not say otherwise.
        about: What GET /runs tells beside: tuning, backbone, head, metrics, calibration, finished.
    """

    def __init__(
        self,
        *,
        side: Side,
        name: str,
        scorer: Any,
        ways: Mapping[str, Candidates],
        calibrations: Mapping[str, Any],
        named: Mapping[str, Mapping[str, Any]],
        explain: Callable[[Asked, int, str], dict[str, Any]] | None,
        labels: Mapping[str, str],
        reads_query: bool,
        reads_user: bool,
        sees_all: bool,
        about: Mapping[str, Any],
    ) -> None:
        self.side, self.name, self.about = side, name, dict(about)
        self.scorer: ScorerLike = scorer
        self.catalogue = scorer.catalogue
        self.rates: tuple[str, ...] = tuple(scorer.rates)
        self.ways, self.explain, self.labels = dict(ways), explain, dict(labels)
        self.reads_query, self.reads_user = reads_query, reads_user
        default = ALL if sees_all or not ways else next(iter(ways))
        self.rankings = Rankings(scorer, calibrations=calibrations, ways=self.ways, default=default, named=named)
        self.keys: list[str] = list(self.catalogue.keys)
        self.titles: list[str] = list(self.catalogue.titles)
        self.numbers = {key: number for number, key in enumerate(self.keys)}
        self.price: NDArray[np.float64] | None = self.catalogue.price
        self._told = self._telling()

    def as_json(self) -> dict[str, Any]:
        """What GET /runs tells of it."""
        return {
            "run": self.side,
            "name": self.name,
            **self.about,
            "rates": list(self.rates),
            "labels": self.labels,
            "by": self.rankings.by,
            "rankings": list(self.rankings.named),
            "candidates": self.rankings.candidates,
            "calibrations": [name for name in self.rankings.scorers if name],
            "explains": self.explain is not None,
            "reads_query": self.reads_query,
            "reads_user": self.reads_user,
            "items": len(self.keys),
        }

    # --- work --------------------------------------------------------------------------------------------------

    def rank(self, wanted: RankRequest, deadline: float) -> Job[dict[str, Any]]:
        """A list.

        Raises:
            Refused: for a field that names nothing of this run.
            ConfigError: for an order that cannot be read.
        """
        asked, find, finish = self.work(wanted)
        recommender = self.rankings.of(wanted)
        every = recommender.ranking.candidates == ALL
        size = len(wanted.items or ()) or (len(self.keys) if every else recommender.ranking.depth)
        return Job(recommender.scorer, finish, [asked], find, size, deadline)

    def work(self, wanted: RankRequest) -> tuple[Asked, Callable[[], list[Integers | None]], Finish]:
        """What is asked, what finds its candidates, and what makes the list of their probabilities."""
        recommender = self.rankings.of(wanted)
        named = None if wanted.items is None else self._items("items", wanted.items)
        request = Request("", self._asked(wanted.query, wanted.user, wanted.time), named)
        held: list[Competing] = []

        def find() -> list[Integers | None]:
            held[:] = [recommender.competing(request)]
            numbers = held[0].numbers
            return [None if len(numbers) == len(self.keys) else numbers]

        def finish(found: Sequence[Rates]) -> dict[str, Any]:
            page = recommender.placed(held[0], found[0])
            return {
                "run": self.side,
                "ranking": wanted.ranking,
                "by": recommender.ranking.by or self.rates[-1],
                "candidates": recommender.ranking.candidates if named is None else "given",
                "competed": page.competing,
                "dropped": page.dropped,
                "ranked": self._ranked(page),
            }

        return request.asked, find, finish

    def score(self, wanted: ScoreRequest, deadline: float) -> Job[dict[str, Any]]:
        """Probabilities of pairs; pairs of one request are scored together.

        Raises:
            Refused: for an item that the log does not have, or words that are missing.
        """
        groups: dict[tuple[str, str, float | None], list[int]] = {}
        for place, pair in enumerate(wanted.pairs):
            groups.setdefault((pair.query, pair.user, pair.time), []).append(place)
        asked = [self._asked(*group, field=f"pairs[{places[0]}].query") for group, places in groups.items()]
        items = [self._pair_items(wanted.pairs, places) for places in groups.values()]

        def finish(found: Sequence[Rates]) -> dict[str, Any]:
            scores: list[dict[str, float | None]] = [{} for _ in wanted.pairs]
            for places, p in zip(groups.values(), found, strict=True):
                for row, place in enumerate(places):
                    scores[place] = {rate: _number(values[row]) for rate, values in p.items()}
            return {"run": self.side, "scores": scores}

        return Job(self.scorer, finish, asked, lambda: items, len(wanted.pairs), deadline)

    def explanation(self, wanted: ExplainRequest, deadline: float) -> Job[dict[str, Any]]:
        """Why one item has its probability.

        Raises:
            Refused: if the run cannot be explained, or a field names nothing of this run.
        """
        explain = self.explain
        if explain is None:
            raise Refused(422, f"run={self.side} cannot be explained; GET /runs says which can.")
        rate = self._one_of("rate", wanted.rate or self.rates[-1], self.rates)
        item = int(self._items("item", [wanted.item])[0])
        asked = self._asked(wanted.query, wanted.user, wanted.time)
        return Job(self.scorer, lambda _: explain(asked, item, rate), deadline=deadline)

    # --- from words --------------------------------------------------------------------------------------------

    def _asked(self, query: str, user: str, time: float | None, field: str = "query") -> Asked:
        if self.reads_query and not query:
            raise Refused(422, f"{field}='' is empty, and run={self.side} reads words; give those of a search.")
        return Asked(query=query, user=user, time=time)

    def _items(self, field: str, keys: Sequence[str]) -> Integers:
        found = [self.numbers.get(key, -1) for key in keys]
        if -1 in found:
            place = found.index(-1)
            name = field if field == "item" else f"{field}[{place}]"
            raise Refused(422, f"{name}={shown(keys[place])} is none of the log's {len(self.keys):,} items.")
        return np.array(found, dtype=np.int64)

    def _pair_items(self, pairs: Sequence[Pair], places: Sequence[int]) -> Integers:
        for place in places:
            if pairs[place].item not in self.numbers:
                told = f"pairs[{place}].item={shown(pairs[place].item)}"
                raise Refused(422, f"{told} is none of the log's {len(self.keys):,} items.")
        return np.array([self.numbers[pairs[place].item] for place in places], dtype=np.int64)

    def _one_of(self, field: str, value: str, known: Sequence[str]) -> str:
        if value not in known:
            raise Refused(422, f"{field}={shown(value)} must be one of {', '.join(known)} (run={self.side}).")
        return value

    # --- to words ----------------------------------------------------------------------------------------------

    def _ranked(self, page: Recommended) -> list[dict[str, Any]]:
        return [
            {
                "place": row + 1,
                "item": self.keys[number],
                "title": self.titles[number],
                "price": None if self.price is None else _number(self.price[number]),
                "p": {rate: _number(values[row]) for rate, values in page.p.items()},
                "value": _number(page.value[row]),
                "before": int(page.before[row]),
                "why": page.why[row],
                "about": {name: words for name, values in self._told.items() if (words := in_words(values[number]))},
            }
            for row, number in enumerate(page.items.tolist())
        ]

    def _telling(self) -> dict[str, NDArray[Any]]:
        there = [name for name in TOLD if name in self.catalogue.columns]
        return {name: self.catalogue.column(name) for name in there}


def require_one_log(a: ServedRun, b: ServedRun) -> None:
    """Two lists can be compared where they are made of the same items.

    Raises:
        RunError: if the runs' logs differ.
    """
    if a.keys == b.keys:
        return
    differs = next((n for n, (one, other) in enumerate(zip(a.keys, b.keys, strict=False)) if one != other), None)
    how = (
        f"{len(a.keys):,} items and {len(b.keys):,}"
        if differs is None
        else (f"item {differs} is {shown(a.keys[differs])} in the one and {shown(b.keys[differs])} in the other")
    )
    raise RunError(f"run_b={b.name} was trained on another log than run={a.name}: {how}; serve runs of one log.")


def _number(value: Any) -> float | None:  # JSON has no NaN
    return float(value) if math.isfinite(value) else None
