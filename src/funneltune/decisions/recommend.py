"""From requests to pages: candidates, calibrated probabilities, value, rules, diversity, exposure.

Legend: C candidates of a request, by item number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.data import Asked
from funneltune.decisions.assortment import Assortment
from funneltune.decisions.candidates.protocol import Candidates
from funneltune.decisions.diversity import ColumnLikeness, Likeness, VectorLikeness, intra_list_similarity
from funneltune.decisions.exposure import Shares
from funneltune.decisions.finding import candidates_of
from funneltune.decisions.order import Page, Worth, fill
from funneltune.decisions.requests import Request
from funneltune.decisions.rules import RulesOn
from funneltune.decisions.scorer import Rates, Scorer
from funneltune.decisions.settings import Diversity, Ranking
from funneltune.errors import ConfigError, DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LOGGED = "logged"
ALL = "all"


@dataclass(frozen=True)
class Plain:
    """The page that a request would have by value alone, of what may be shown: what the finished one is held against.

    Empty where the ranking is by value alone.
    """

    items: Integers
    joint: Floats
    similarity: float


@dataclass(frozen=True)
class Recommended:
    """A request's page; arrays have one entry per place."""

    request: str
    items: Integers
    """Numbers in the assortment."""
    p: Rates
    value: Floats
    """What it is worth, with boosts."""
    before: Integers
    """Its place by value alone among all candidates, from 1."""
    why: tuple[str, ...]
    """The rule that moved it."""
    competing: int
    """Candidates."""
    dropped: str
    """What rules dropped of them."""
    similarity: float
    """Mean likeness of its pairs; NaN without diversity."""
    plain: Plain
    due: Floats
    """(G,) the share that each group is due; empty without exposure."""


@dataclass(frozen=True)
class Competing:
    """A request's candidates, before anything is said of them."""

    request: str
    asked: Asked
    """With features for just these."""
    numbers: Integers
    """(C,) in the assortment, ascending."""
    price: Floats | None
    """(C,) None where no price is known at all."""


class Recommender:
    """A run and a ranking, applied to requests one by one: a page is the same alone and among others.

    Args:
        scorer: The run's probabilities, in the ranking's calibration.
        ranking: The settings.
        new: Fields of items that the log does not have (`item`, `title`, `price`, ...); they compete by their texts.
        finder: How candidates are found; None: as `ranking.candidates` says.
        items: The assortment, where several rankings share one; else that of `new`.

    Raises:
        ConfigError: if a column, a value or an item is none of the log's, or the rules leave nothing.
    """

    def __init__(
        self,
        scorer: Scorer,
        ranking: Ranking,
        new: Sequence[Mapping[str, Any]] = (),
        finder: Candidates | None = None,
        items: Assortment | None = None,
    ) -> None:
        self.scorer, self.ranking = scorer, ranking
        self.items = items or Assortment(scorer.catalogue, new)
        self.worth = Worth.parse(ranking.by, scorer.rates)
        self.rules: RulesOn = ranking.rules.on(self.items)
        self.finder = finder
        if finder is None and ranking.candidates not in (ALL, LOGGED):
            self.finder = candidates_of(scorer, ranking.candidates)
        self.groups: tuple[list[str], Integers] | None = None
        if ranking.exposure is not None:
            self.groups = self.items.codes(ranking.exposure.column, "exposure.column")
            self._due(np.zeros(0, dtype=np.int64), np.zeros(0))  # a group that is none is told now
        self._fields = [{name: value for name, value in one.items() if name != "item"} for one in self.items.new]

    @classmethod
    def of_run(cls, run: Path, ranking: Ranking, new: Sequence[Mapping[str, Any]] = ()) -> Recommender:
        """From a run's folder.

        Raises:
            RunError: if it is no finished run, or has no such calibration.
        """
        return cls(Scorer.of_run(run, ranking.calibration), ranking, new)

    def pages(self, requests: Iterable[Request]) -> Iterator[Recommended]:
        """A page for each request, in their order."""
        return (self.page(request) for request in requests)

    def page(self, request: Request) -> Recommended:
        """The page of a request; without places where its rules leave none of its candidates.

        Raises:
            ConfigError: if revenue is asked for and a price is not known, or its items are not.
        """
        competing = self.competing(request)
        return self.placed(competing, self._score(competing.asked, competing.numbers))

    def placed(self, competing: Competing, p: Rates) -> Recommended:
        """The page of candidates whose probabilities are known.

        Raises:
            ConfigError: if revenue is asked for and a price is not known.
        """
        numbers = competing.numbers
        value = self.worth.of(p, competing.price)
        allowed = np.flatnonzero(self.rules.allowed(numbers))
        likeness = self._likeness(numbers[allowed])
        shares = self._shares(value[allowed], numbers[allowed])
        page = self._fill(value[allowed], numbers[allowed], likeness, shares)
        chosen = allowed[page.chosen]
        before = _places(value)
        # plain: the best of what may be shown, by value alone
        best = allowed[np.argsort(-value[allowed], kind="stable")[: self.ranking.top]]
        plain = Plain(np.zeros(0, np.int64), np.zeros(0), float("nan"))
        if not self.ranking.is_plain:
            alike = float("nan") if likeness is None else _similarity(likeness, allowed, best)
            plain = Plain(numbers[best], p[self.worth.joint][best], alike)
        factor = self.rules.factor[numbers]
        return Recommended(
            request=competing.request,
            items=numbers[chosen],
            p={rate: values[chosen] for rate, values in p.items()},
            value=(value * factor)[chosen],
            before=before[chosen],
            why=_reasons(page, chosen, before, factor, value, allowed),
            competing=len(numbers),
            dropped=self.rules.told(numbers),
            similarity=float("nan") if likeness is None else intra_list_similarity(likeness, page.chosen),
            plain=plain,
            due=np.zeros(0) if shares is None else shares.share,
        )

    def competing(self, request: Request) -> Competing:
        """What competes for a request's places.

        Raises:
            ConfigError: if the ranking wants the request's own items and it names none.
        """
        pins = list(self.rules.pins.values())
        own = request.items
        if self.ranking.candidates == LOGGED and own is None:
            raise ConfigError(
                f"candidates={LOGGED}: request {request.key} names no items; give requests with an item column, or "
                "split=test, or candidates=all."
            )
        if own is None or (request.rows is not None and self.ranking.candidates != LOGGED):
            # features that the request has for its own items say nothing of others
            columns = {name: value for name, value in request.asked.columns.items() if np.ndim(value) == 0}
            asked = replace(request.asked, columns=columns)
            numbers = self._found(asked)
        else:
            numbers, asked = own, request.asked
        if missing := [pin for pin in pins if pin not in numbers]:
            numbers, asked = np.append(numbers, missing), _widened(asked, len(numbers), len(missing))
        whole = len(numbers)
        numbers, first = np.unique(numbers, return_index=True)
        columns = {
            name: np.asarray(value)[first] if np.ndim(value) == 1 and len(value) == whole else value
            for name, value in asked.columns.items()
        }
        asked = replace(asked, columns=columns)
        return Competing(request.key, asked, numbers, self._price(columns, numbers))

    # --- parts -------------------------------------------------------------------------------------------------

    def _found(self, asked: Asked) -> Integers:
        """What a way finds, and all new items."""
        if self.finder is None:
            return np.arange(len(self.items))
        found = self.finder.find([asked], min(self.ranking.depth, self.items.known))[0][0]
        return np.append(found[found >= 0], np.arange(self.items.known, len(self.items)))

    def _price(self, columns: Mapping[str, Any], numbers: Integers) -> Floats | None:
        known = None if self.items.price is None else self.items.price[numbers]
        if "price" not in columns:
            return known
        try:
            asked = np.broadcast_to(np.asarray(columns["price"], dtype=np.float64), numbers.shape)
        except (TypeError, ValueError):
            raise DataError("price: a request has one that is no number; mend it, or leave the cell empty.") from None
        return asked if known is None else np.where(np.isfinite(asked), asked, known)

    def _score(self, asked: Asked, numbers: Integers) -> Rates:
        known = numbers[numbers < self.items.known]
        everything = len(known) == self.items.known
        columns = {name: value[: len(known)] if np.ndim(value) == 1 else value for name, value in asked.columns.items()}
        of_log = replace(asked, columns=columns)
        found = self.scorer.score([of_log], [None if everything else known])[0]
        if len(known) == len(numbers):
            return found
        fields = [self._fields[number] for number in numbers[len(known) :] - self.items.known]
        scalars = {name: value for name, value in asked.columns.items() if np.ndim(value) == 0}
        new = self.scorer.score_new([replace(asked, columns=scalars)], fields)[0]
        return {rate: np.concatenate([found[rate], new[rate]]) for rate in found}

    def _likeness(self, numbers: Integers) -> Likeness | None:
        diversity = self.ranking.diversity
        if diversity is None:
            return None
        if diversity.columns:
            return ColumnLikeness(self._codes[numbers])
        try:
            vectors = self._vectors if len(self.items.new) else self.scorer.item_vectors
        except ConfigError as error:
            raise ConfigError(
                f"diversity.by=vectors: {error} Or compare by columns: diversity.by=[category,brand]."
            ) from None
        return VectorLikeness(vectors[numbers])

    @cached_property
    def _codes(self) -> Integers:
        assert isinstance(self.ranking.diversity, Diversity)
        columns = self.ranking.diversity.columns
        return np.stack([self.items.codes(name, "diversity.by")[1] for name in columns], axis=1)

    @cached_property
    def _vectors(self) -> NDArray[np.float32]:
        """Of the log's items and, read by the same encoder, of the new ones."""
        new = self.scorer.query_vectors(self.items.titles[self.items.known :])
        return np.concatenate([self.scorer.item_vectors, new])

    def _fill(self, value: Floats, numbers: Integers, likeness: Likeness | None, shares: Shares | None) -> Page:
        ranking, value = self.ranking, value * self.rules.factor[numbers]
        if ranking.is_plain:
            order = np.argsort(-value, kind="stable")[: ranking.top]
            return Page(order, ("",) * len(order))
        place = {int(number): index for index, number in enumerate(numbers)}
        return fill(
            value,
            ranking.top,
            likeness=likeness,
            weight=1.0 if ranking.diversity is None else ranking.diversity.weight,
            pool=None if ranking.diversity is None else ranking.diversity.pool,
            limits=self.rules.limits(numbers),
            shares=shares,
            pinned={at: place[item] for at, item in self.rules.pins.items() if item in place},
        )

    def _shares(self, value: Floats, numbers: Integers) -> Shares | None:
        """What the groups of some candidates are due."""
        if self.groups is None:
            return None
        group = self.groups[1][numbers]
        return Shares(group, self._due(group, value))

    def _due(self, group: Integers, value: Floats) -> Floats:
        assert self.groups is not None
        assert self.ranking.exposure is not None
        names, codes = self.groups
        merit = np.bincount(group, weights=value, minlength=len(names)).astype(np.float64)
        return self.ranking.exposure.due(names, np.bincount(codes, minlength=len(names)), merit)


def _places(value: Floats) -> Integers:
    """(C,) each candidate's place by value, equal ones by number, from 1."""
    order = np.argsort(-value, kind="stable")
    found = np.empty(len(value), dtype=np.int64)
    found[order] = np.arange(1, len(value) + 1)
    return found


def _similarity(likeness: Likeness, allowed: Integers, items: Integers) -> float:
    """Of a page, given as candidates, by a likeness over the allowed ones."""
    return intra_list_similarity(likeness, np.searchsorted(allowed, items))


def _widened(asked: Asked, whole: int, more: int) -> Asked:
    """A request with candidates added, of which it says nothing: numbers are looked up where they are NaN."""
    columns = {
        name: value for name, value in asked.columns.items() if not (np.ndim(value) == 1 and len(value) == whole)
    }
    return replace(asked, columns=columns) if more else asked


def _reasons(
    page: Page, chosen: Integers, before: Integers, factor: Floats, value: Floats, allowed: Integers
) -> tuple[str, ...]:
    """For each place, the rules that gave it to this item, or what happened around it."""
    gone = np.ones(len(value), dtype=bool)
    gone[allowed] = False
    found = []
    for place, (candidate, why) in enumerate(zip(chosen, page.why, strict=True), start=1):
        own = (
            [f"{'boost' if factor[candidate] > 1 else 'bury'} x{factor[candidate]:g}"] if factor[candidate] != 1 else []
        )
        own += [why] if why else []
        if not own and place < before[candidate]:
            above = int((gone & (before < before[candidate])).sum())
            own = [f"{above} above it dropped" if above else "others moved down"]
        if not own and place > before[candidate]:
            own = ["others moved up"]
        found.append("; ".join(own))
    return tuple(found)
