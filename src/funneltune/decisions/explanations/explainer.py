"""Explanations of a run: why this item has this probability, for this request."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch

from funneltune.data import Asked
from funneltune.decisions.explanations.changes import asked_changes, probabilities, usual_changes
from funneltune.decisions.explanations.evidence import TrainingEvidence
from funneltune.decisions.explanations.explanation import Change, Completeness, Explanation, Pushing, Word
from funneltune.decisions.explanations.gradients import Attributed, integrate, rates_of
from funneltune.decisions.explanations.inlets import Inlets, in_the_open
from funneltune.decisions.explanations.persons import without_persons
from funneltune.decisions.explanations.words import offsets_of, spans
from funneltune.decisions.requests import logged_requests
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError

SPLITS = ("test", "validation", "train")
UNKNOWN = "(unknown)"


class Explainer:
    """Explains what a run says, one request and item at a time.

    Args:
        scorer: Of the run.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.data = scorer.assembly.data
        self.encoder = in_the_open(scorer.module.encoder)
        self.evidence = TrainingEvidence(scorer)

    def explain(
        self,
        asked: Asked,
        item: int,
        rate: str = "",
        steps: int | None = None,
        what_if: Mapping[str, str] | None = None,
        row: int | None = None,
    ) -> Explanation:
        """Why an item has its probability.

        Args:
            asked: The request; its columns are of this item.
            item: Its number in the log.
            rate: What is explained; without one, the last of the funnel (ctcvr).
            steps: Points of the path; None: as many as it takes for the pushes to add up, at most 512.
            what_if: Name -> another value, to be tried beside what is tried unasked.
            row: Its row in the log where it was logged: it is not its own evidence.

        Raises:
            ConfigError: if the rate or a changed name is unknown, or captum is not installed.
        """
        rate = self._rate(rate)
        wished = asked_changes(self.scorer, asked, item, what_if or {})
        batch = self.scorer.batch([asked], [np.array([item])])
        inlets = Inlets(self.scorer.module, self.encoder, batch, self.data.tokenizer, self._mean_vectors)
        found = integrate(inlets, self.data.funnel, rate, steps)
        numbers = self._numbers(batch.numbers)
        altered = [
            *wished,
            *usual_changes(self.scorer, asked, item, numbers, self.evidence.other_query(asked, item)),
        ]
        said = probabilities(self.scorer, asked, item, altered, rate)
        p = self.scorer.score([asked], [np.array([item])])[0]
        told = Explanation(
            run=str(self.scorer.folder),
            rate=rate,
            events={name: self._event(name) for name in p},
            query=asked.query,
            user=asked.user,
            item=self.scorer.catalogue.keys[item],
            title=self.scorer.catalogue.titles[item],
            p={name: float(values[0]) for name, values in p.items()},
            completeness=_completeness(found, inlets, rates_of(self.data.funnel)[rate][1]),
            words=tuple(self._words(inlets, found, asked, item)),
            features=tuple(self._features(inlets, found, asked, item, numbers)),
            evidence=self.evidence.of(asked, item, row),
            changes=tuple(
                Change(one.what, one.before, one.after, then, then - now, one.wished)
                for one, (now, then) in zip(altered, said, strict=True)
            ),
        )
        return without_persons(told, self.scorer.rows.shown)

    def _rate(self, rate: str) -> str:
        rates = self.scorer.rates
        if rate and rate not in rates:
            near = difflib.get_close_matches(rate, rates, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ConfigError(f"rate={rate!r} must be one of {', '.join(rates)}{hint}")
        return rate or rates[-1]

    def _event(self, rate: str) -> str:
        task = self.data.funnel[rates_of(self.data.funnel)[rate][0]]
        return (task.conditional if rate == task.rate else task.joint).replace("_", " ")

    @cached_property
    def _mean_vectors(self) -> torch.Tensor | None:
        names = self.data.features.vectors
        if not names:
            return None
        means = [np.asarray(self.data.store.vectors(name)).mean(axis=0) for name in names]
        return torch.from_numpy(np.concatenate(means)[None].astype(np.float32))

    # --- words -------------------------------------------------------------------------------------------------

    def _words(self, inlets: Inlets, found: Attributed, asked: Asked, item: int) -> Iterator[Word]:
        texts = {"query": asked.query, "item": self.scorer.catalogue.titles[item]}
        for segment in inlets.segments:
            text, push = texts[segment.role], found.parts[0][segment.start : segment.stop]
            ids = inlets.token_ids[segment.start : segment.stop].numpy()
            for span in spans(text, offsets_of(text, self.data.tokenizer, ids)):
                pushed = float(push[list(span.tokens)].sum())
                word = text[span.start : span.stop]
                yield Word(word, segment.role, span.start, span.stop, pushed, read=bool(span.tokens))

    # --- features ----------------------------------------------------------------------------------------------

    def _numbers(self, numbers: torch.Tensor | None) -> dict[str, tuple[float, float]]:
        """Number -> its value, and the training rows' median."""
        if numbers is None:
            return {}
        features = next(iter(self.scorer.module.features.values()))
        middle = features.numbers.medians().tolist()  # type: ignore[union-attr, operator]
        own = [float(value) for value in numbers[0]]
        return dict(zip(self.data.features.numbers, zip(own, middle, strict=True), strict=True))

    def _features(
        self,
        inlets: Inlets,
        found: Attributed,
        asked: Asked,
        item: int,
        numbers: Mapping[str, tuple[float, float]],
    ) -> Iterator[Pushing]:
        """Inputs beside the texts; where tasks have features of their own, an input's pushes through all of them."""
        needs = self.data.features
        summed: dict[str, Any] = {}
        for inlet, part in zip(inlets.inlets, found.parts, strict=True):
            if inlet.kind != "token":
                summed[inlet.kind] = summed.get(inlet.kind, 0.0) + part
        for name, push in zip(needs.ids, summed.get("id", ()), strict=False):
            yield Pushing(name, "id", self._value(name, asked, item), float(push))
        for name, push in zip(needs.numbers, summed.get("number", ()), strict=False):
            yield Pushing(name, "number", f"{numbers[name][0]:.6g}", float(push))
        for push in summed.get("vector", ()):
            yield Pushing(" and ".join(needs.vectors), "vector", "", float(push))
        past = self.scorer.rows.before([asked], needs.history)[0] if "event" in summed else ()
        for place, (before, push) in enumerate(zip(past, summed.get("event", ()), strict=False), start=1):
            if before >= 0:
                title = self.scorer.catalogue.titles[before]
                yield Pushing(f"earlier click {place}", "event", title, float(push))

    def _value(self, name: str, asked: Asked, item: int) -> str:
        """An id as the log writes it."""
        if name in asked.columns:
            return str(np.ravel(asked.columns[name])[0])
        side, _, column = name.partition(".")
        rows = self.scorer.rows
        if side == "item":
            return str(rows.fields(item).get(column or "key"))
        if side == "user" and column:
            number = rows.users.get(asked.user)
            return UNKNOWN if number is None else str(self.data.store.table("users").column(column)[number].as_py())
        return {"user": asked.user, "query": asked.query}.get(name, "") or UNKNOWN


def _completeness(found: Attributed, inlets: Inlets, scale: str) -> Completeness:
    kinds = dict.fromkeys(inlet.kind for inlet in inlets.inlets)
    absent = {
        "token": f"{inlets.neutral} for each piece of a word, special tokens kept",
        "id": "no vector for an id",
        "number": "the training rows' median of a number",
        "vector": "the items' mean of fixed vectors",
        "event": "no earlier click",
    }
    return Completeness(
        scale=scale,
        value=found.value,
        baseline=found.baseline,
        steps=found.steps,
        gap=found.gap,
        tolerance=found.tolerance,
        complete=found.complete,
        absent=tuple(absent[kind] for kind in kinds),
    )


@lru_cache(maxsize=2)
def _explainer(scorer: Scorer) -> Explainer:
    """What an explainer has looked up serves the next one, too: of the last two runs, which a page compares."""
    return Explainer(scorer)


def explain(
    scorer: Scorer,
    asked: Asked,
    item: int,
    rate: str = "",
    steps: int | None = None,
    what_if: Mapping[str, str] | None = None,
) -> Explanation:
    """Why an item has its probability; see `Explainer.explain`."""
    return _explainer(scorer).explain(asked, item, rate, steps, what_if)


def explain_row(
    scorer: Scorer,
    split: str,
    row: int,
    rate: str = "",
    steps: int | None = None,
    what_if: Mapping[str, str] | None = None,
) -> Explanation:
    """The same of an impression that was logged.

    Args:
        scorer: Of the run.
        split: `test`, `validation` or `train`.
        row: Which row of it, from 0, in the log's order.
        rate: See `Explainer.explain`.
        steps: Likewise.
        what_if: Likewise.

    Raises:
        ConfigError: if there is no such split or row.
    """
    if split not in SPLITS:
        raise ConfigError(f"split={split!r} must be one of {', '.join(SPLITS)}.")
    data = scorer.assembly.data
    if not 0 <= row < (n := data.n_rows(split)):
        raise ConfigError(f"row={row} must lie in 0 .. {n - 1}, the rows of split={split}.")
    logged = data.rows(split)[row : row + 1]
    request = next(logged_requests(scorer, only=data.store.requests_of(logged)))
    assert request.items is not None
    assert request.rows is not None
    place = int(np.flatnonzero(request.rows == logged[0])[0])
    columns = {
        name: value if np.ndim(value) == 0 else np.asarray(value)[place : place + 1]
        for name, value in request.asked.columns.items()
    }
    asked, item = replace(request.asked, columns=columns), int(request.items[place])
    return _explainer(scorer).explain(asked, item, rate, steps, what_if, int(logged[0]))
