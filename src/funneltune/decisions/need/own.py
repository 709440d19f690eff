"""The next category as the run itself was trained to tell it: a task with `next` (`data.tasks`).

The task's probability belongs to a row (words, shopper, item); a request's is the mean over its rows.

Legend: n moments, C categories, R rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.data import Asked
from funneltune.data.store import ragged_arange
from funneltune.decisions.need.log import Floats, Integers, Log, Moments
from funneltune.decisions.need.model import cooled, temperature_of
from funneltune.decisions.scorer import Scorer
from funneltune.funnel import Task
from funneltune.schema import predictions

LATEST = 8
"""Of a shopper's own past requests that stand for what it may ask next, the latest so many ..."""
EVERYONES = 16
"""... beside so many of everyone's, drawn from the training."""
PSEUDO = 4.0
"""Own requests' worth that everyone's count."""
ITEMS = 2
"""Items of each request's page that are read with it: the first ones."""


def own_task(scorer: Scorer, category: str) -> Task | None:
    """The run's task of what comes next by this column of the items; None: it has none."""
    return next((task for task in scorer.funnel.following if task.next == category), None)


@dataclass(frozen=True)
class OwnTask:
    """What a run says of the next category, calibrated on validation moments by a temperature (Guo et al. 2017): one
    for requests whose words and page are known, one for shoppers who have said nothing.
    """

    scorer: Scorer
    task: Task
    log: Log
    prior: Floats
    """(C,)."""
    temperature: float = 1.0
    temperature_unasked: float = 1.0

    @classmethod
    def of(cls, scorer: Scorer, task: Task, log: Log, prior: Floats, validation: Moments) -> OwnTask:
        """With the temperatures that do best on the validation moments."""
        plain = cls(scorer, task, log, prior)
        raw = (plain.raw(validation.request), plain.raw_unasked(validation.user, validation.time))
        found = (temperature_of(np.log(np.maximum(p, 1e-12)), prior, validation)[0] for p in raw)
        return cls(scorer, task, log, prior, *found)

    # --- with the words and the page of the moment ---------------------------------------------------------------

    def asked(self, requests: Integers) -> Floats:
        """(n, C) of logged requests, by their words and pages."""
        return self._cooled(self.raw(requests), self.temperature)

    @torch.inference_mode()
    def raw(self, requests: Integers) -> Floats:
        """The same as the run was trained to say it."""
        data, module = self.scorer.assembly.data, self.scorer.module
        rows = data.store.rows_of(requests)
        of_row = np.repeat(np.arange(len(requests)), data.store.request_lengths[requests])
        total = np.zeros((len(requests), len(self.log.names)))
        module.encoder.reuse(True)
        for start, batch in data.batches(rows):
            found = predictions(module(batch), self.scorer.funnel)
            p = np.stack([np.exp(found[name].double().numpy()) for name in self._columns], axis=1)
            np.add.at(total, of_row[start : start + len(p)], p)
        module.encoder.reuse(False)
        return np.asarray(total / total.sum(axis=1, keepdims=True))

    # --- of shoppers who have said nothing -----------------------------------------------------------------------

    def unasked(self, user: Integers, time: Floats) -> Floats:
        """(n, C) at a time, whatever is asked then: the mean over the shopper's latest own requests and a few of
        everyone's, each with the head of its page. `user`: -1 has no past.
        """
        return self._cooled(self.raw_unasked(user, time), self.temperature_unasked)

    def raw_unasked(self, user: Integers, time: Floats) -> Floats:
        """The same as the run was trained to say it."""
        owner, request, weight = self._situations(user, time)
        keys = self._users
        asked = [
            Asked(query=self._words[self._query[r]], user=keys[user[n]], time=float(time[n]))
            for n, r in zip(owner, request, strict=True)
        ]
        p = self._mean_of_rows(asked, [self._page(r) for r in request])
        total = np.zeros((len(user), len(self.log.names)))
        np.add.at(total, owner, weight[:, None] * p)
        return np.asarray(total / total.sum(axis=1, keepdims=True))

    def after(self, users: Sequence[str], query: str = "") -> Floats:
        """(n, C) of shoppers by their identifiers, after all that the log holds; with words, as if each had just
        searched for them, and had been shown what the run puts first.
        """
        rows = self.scorer.rows
        if not query:
            number = np.array([rows.users.get(key, -1) for key in users], dtype=np.int64)
            return self.unasked(number, np.full(len(users), np.nextafter(self.log.end, np.inf)))
        rate = self.scorer.score([Asked(query=query)], [None])[0][self.scorer.rates[-1]]
        page = np.argsort(-rate, kind="stable")[: 2 * ITEMS]
        p = self._mean_of_rows([Asked(query=query, user=key) for key in users], [page] * len(users))
        return self._cooled(p, self.temperature)

    def _situations(self, user: Integers, time: Floats) -> tuple[Integers, Integers, Floats]:
        """(R,) each: which moment, a logged request that it may be like, and what that counts."""
        past_user, past_time, past = self._past
        begin = np.searchsorted(past_user, user)
        # a shopper's own requests lie together, by time; how many came before the moment is a second search inside
        end = np.array(
            [
                low + np.searchsorted(past_time[low:high], when, side="left")
                for low, high, when in zip(begin, np.searchsorted(past_user, user, side="right"), time, strict=True)
            ],
            dtype=np.int64,
        ).reshape(-1)
        own = np.minimum(end - begin, LATEST)
        owner = np.repeat(np.arange(len(user)), own)
        request = past[ragged_arange(end - own, own)]
        everyones = self._everyones
        share = np.repeat(PSEUDO / len(everyones), len(user) * len(everyones))
        return (
            np.concatenate([owner, np.repeat(np.arange(len(user)), len(everyones))]),
            np.concatenate([request, np.tile(everyones, len(user))]),
            np.concatenate([np.ones(len(owner)), share]),
        )

    def _mean_of_rows(self, asked: Sequence[Asked], pages: Sequence[Integers]) -> Floats:
        """(requests, C)."""
        said = self.scorer.levels(asked, pages, self.task)
        places = self._places
        return np.stack([of_one[:, places].mean(axis=0) for of_one in said])

    def _cooled(self, p: Floats, temperature: float) -> Floats:
        return cooled(np.log(np.maximum(p, 1e-12)), temperature, self.prior)

    # --- the log ---------------------------------------------------------------------------------------------------

    def _page(self, request: int) -> Integers:
        store = self.scorer.assembly.data.store
        start = int(store.request_offsets[request])
        return np.asarray(store.column("item")[start : start + ITEMS], dtype=np.int64)[: self._lengths[request]]

    @cached_property
    def _places(self) -> Integers:
        """(C,) where each category stands among the task's levels."""
        number = {level: k for k, level in enumerate(self.task.levels)}
        return np.array([number[name] for name in self.log.names], dtype=np.int64)

    @property
    def _columns(self) -> list[str]:
        return [self.task.predicted[place] for place in self._places]

    @cached_property
    def _past(self) -> tuple[Integers, Floats, Integers]:
        """Shopper, time and number of the requests that may be remembered, by shopper, then time."""
        data = self.scorer.assembly.data
        requests = np.unique(data.store.requests_of(np.flatnonzero(data.remembered)))
        user = np.asarray(data.store.of_requests("user")[requests], dtype=np.int64)
        time = np.asarray(data.store.of_requests("time")[requests], dtype=np.float64)
        order = np.lexsort((time, user))
        return user[order], time[order], requests[order]

    @cached_property
    def _everyones(self) -> Integers:
        train = np.sort(self.scorer.assembly.data.requests("train"))
        return np.random.default_rng(0).choice(train, min(EVERYONES, len(train)), replace=False)

    @cached_property
    def _query(self) -> NDArray[np.integer]:
        found: NDArray[np.integer] = self.scorer.assembly.data.store.of_requests("query")
        return found

    @cached_property
    def _lengths(self) -> Integers:
        return self.scorer.assembly.data.store.request_lengths

    @cached_property
    def _words(self) -> list[str]:
        data = self.scorer.assembly.data
        if "query" in data.texts:
            return data.store.text("queries", data.texts["query"])
        return [str(key) for key in data.store.table("queries").column("key").to_pylist()]

    @cached_property
    def _users(self) -> list[str]:
        """Identifiers by number; the last is nobody's, for -1."""
        return [*self.scorer.rows.users, ""]
