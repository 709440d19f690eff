"""Inputs that tell a label: single columns and words that no honest feature could match.

A column is held against each yes/no question that a task asks of its training rows (the label itself; for a task of
levels, whether the label is this level): numbers by their exact AUC; what is learnt per value (identifiers, categories,
texts, numbers cut into bins) by means that are fitted on one half of the requests and scored on the other, so that
values which occur once cannot be learnt by heart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from string import Formatter

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from funneltune.data.features import FeatureColumns
from funneltune.data.requests import OBSERVED
from funneltune.data.store import LogStore, Side
from funneltune.funnel import Task, TaskFunnel
from funneltune.metrics.discrimination import auc
from funneltune.metrics.regression import spearman

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
TELLS = 0.98
"""AUC from which on a single column tells the label; below 1 - TELLS it tells it upside down."""
ORDERS = 0.99
"""Likewise |Spearman's correlation| with a number."""
ENOUGH = 20
"""Rows of each class, in each half of the requests, below which nothing is claimed."""
RARE, SHARE = 0.2, 0.02
"""A value tells a rare event (rate <= RARE) where it all but implies it and covers a SHARE of the events."""
MOST_ROWS = 200_000
WORDS = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\\W\\d_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+|\\d+")
SIDES: Mapping[str, Side] = {"query": "queries", "item": "items"}


@dataclass(frozen=True)
class Question:
    """Yes (1) or no (0) for each of some rows, and which of them lie in the half that is fitted on."""

    words: str
    yes: Floats
    fit: NDArray[np.bool_]
    events: bool
    """Whether the task is binary: a funnel's event, which later events imply."""

    @cached_property
    def answerable(self) -> bool:
        """Enough of both classes in both halves."""
        counts = [np.bincount(self.yes[half].astype(np.int64), minlength=2) for half in (self.fit, ~self.fit)]
        return bool(np.min(counts) >= ENOUGH)

    @cached_property
    def drawn(self) -> Integers:
        """At most 4,000 rows of each class, for a first look."""
        rng = np.random.default_rng(0)
        return np.concatenate([rng.permutation(np.flatnonzero(self.yes == c))[:4000] for c in (0, 1)])


@dataclass(frozen=True)
class Target:
    """A task on a sample of the training rows where it is observed."""

    task: Task
    rows: Integers
    label: NDArray
    fit: NDArray[np.bool_]
    questions: list[Question] = field(default_factory=list)

    @classmethod
    def of(cls, store: LogStore, funnel: TaskFunnel, task: Task, train: Integers, seed: int = 0) -> Target:
        """Whole requests, drawn until about MOST_ROWS rows are there."""
        rng = np.random.default_rng(seed)
        drawn, half = rng.random(store.n_requests), rng.random(store.n_requests) < 0.5
        if task.next:  # several requests lead to one purchase: halves that share shoppers would share labels
            half = (rng.random(store.table("users").num_rows) < 0.5)[store.of_requests("user")]
        observed = int(store.of_requests(f"{OBSERVED}{task.name}")[train].sum())
        rows = store.rows_of(train if observed <= MOST_ROWS else train[drawn[train] < MOST_ROWS / observed])
        way = {name: store.column(name)[rows] for name in (*(e.name for e in funnel.way_to(task.name)), task.name)}
        rows = rows[funnel.observed(way, task.name)]
        label, fit = store.column(task.name)[rows], half[store.requests_of(rows)]
        asked: list[tuple[str, Floats]] = []
        if task.has_levels:
            asked = [(f"{task.name}={name}", (label == k).astype(np.float64)) for k, name in enumerate(task.levels)]
        elif task.binary:
            asked = [(task.name, label.astype(np.float64))]
        questions = [Question(words, yes, fit, task.binary) for words, yes in asked]
        return cls(task, rows, label, fit, [question for question in questions if question.answerable])

    @property
    def measurable(self) -> bool:
        """Whether anything can be claimed of it."""
        number = self.task.kind == "regression" and min(self.fit.sum(), (~self.fit).sum()) >= 2 * ENOUGH
        return bool(self.questions or number)

    # --- what one column says of it; None where it is within bounds ----------------------------------------------

    def told_by_number(self, values: Floats) -> str | None:
        """By its order, or (`told_by_value`) by its bins, or by whether it differs from its usual value at all."""
        if self.task.kind == "regression":
            found = spearman(self.label.astype(np.float64), values)
            return f"Spearman {found:.3f} with {self.task.name}" if abs(found) >= ORDERS else None
        if self.task.binary and tells(area := auc(self.questions[0].yes, values)):
            return f"AUC {area:.3f} for {self.task.name}"
        if (said := self.told_by_value(binned(values))) is not None:
            return said
        distinct, counts = np.unique(values, return_counts=True)  # an amount that few rows have falls into no bin
        unusual = values != distinct[counts.argmax()]
        return self.told_by_value(unusual.astype(np.int64)) if unusual.mean() <= 0.5 else None

    def told_by_value(self, codes: Integers) -> str | None:
        """By the mean of each value, learnt on one half; or by a value that implies a rare event."""
        codes = self._pooled(codes)
        if self.task.kind == "regression":
            found = spearman(self.label[~self.fit].astype(np.float64), self._fitted(codes, self.label))
            return f"Spearman {found:.3f} with {self.task.name}, by value" if abs(found) >= ORDERS else None
        areas = [auc(q.yes[~q.fit], self._fitted(codes, q.yes)) for q in self.questions]
        if (mean := self._mean(areas)) >= TELLS:
            return f"AUC {mean:.3f} for {self.task.name}, by value"
        for question in self.questions:
            rows, events = (np.stack(parts) for parts in zip(*_by_half(question, codes), strict=True))
            if (said := implied(question, rows, events)) is not None:
                return f"one of its values has {said[1]}"
        return None

    def told_by_words(self, words: Words, place: Integers) -> str | None:
        """By whether one word is there; `place` is each row's text."""
        best: list[tuple[float, int]] = []
        certain: tuple[int, str] | None = None
        for question in self.questions if len(words.spelt) else ():
            rows, events = (
                np.stack([np.bincount(words.word, of_text[words.text], len(words.spelt)) for of_text in halves])
                for halves in zip(*_by_half(question, place, words.n_texts), strict=True)
            )
            positives, negatives = question.yes.sum(), (1.0 - question.yes).sum()
            hit, miss = events.sum(axis=0) / positives, (rows - events).sum(axis=0) / negatives
            area = 0.5 + (hit - miss) / 2.0
            strongest = int(np.abs(area - 0.5).argmax())
            best.append((float(max(area[strongest], 1.0 - area[strongest])), strongest))
            certain = implied(question, rows, events)
        if best and (mean := self._mean([area for area, _ in best])) >= TELLS:
            spelt = ", ".join(dict.fromkeys(repr(words.spelt[word]) for _, word in best))
            return f"AUC {mean:.3f} for {self.task.name}, by the word{'s' * (len(best) > 1)} {spelt}"
        return f"the word {words.spelt[certain[0]]!r} has {certain[1]}" if certain else None

    def told_by_dimension(self, table: NDArray[np.float32], item: Integers) -> Iterator[tuple[int, str]]:
        """The dimensions of a vector per item that tell the label: a first look at few rows, then exactly."""
        looked = np.zeros(table.shape[1], dtype=bool) if self.questions else np.ones(table.shape[1], dtype=bool)
        for question in self.questions:
            yes = question.yes[question.drawn]
            ranks = rankdata(table[item[question.drawn]], axis=0)
            n = yes.sum()
            look = (ranks[yes == 1].sum(axis=0) - n * (n + 1) / 2) / (n * (len(yes) - n))
            looked |= np.abs(look - 0.5) > TELLS - 0.55
        for place in np.flatnonzero(looked).tolist():
            if (said := self.told_by_number(np.asarray(table[:, place], dtype=np.float64)[item])) is not None:
                yield place, said

    def _mean(self, areas: Sequence[float]) -> float:
        """Over the levels, by their rows; the AUC itself where there is one question."""
        return float(np.average(areas, weights=[question.yes.mean() for question in self.questions]))

    def _pooled(self, codes: Integers) -> Integers:
        """Values that the fitted half holds once, or never, as one value: what a new one is worth."""
        n = int(codes.max(initial=0)) + 1
        return np.asarray(np.where(np.bincount(codes[self.fit], minlength=n)[codes] < 2, n, codes), dtype=np.int64)

    def _fitted(self, codes: Integers, label: NDArray) -> Floats:
        n = int(codes.max(initial=0)) + 1
        rows, total = (np.bincount(codes[self.fit], w, n) for w in (None, label[self.fit].astype(np.float64)))
        mean = np.divide(total, rows, out=np.full(n, float(label[self.fit].mean())), where=rows > 0)
        return np.asarray(mean[codes[~self.fit]], dtype=np.float64)


@dataclass(frozen=True)
class Words:
    """Which words some texts hold, each once per text."""

    spelt: Sequence[str]
    text: Integers
    word: Integers
    n_texts: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> Words:
        """Lower-cased runs of letters and of digits; each Chinese or Japanese character is a word."""
        found = [set(WORDS.findall(text.lower())) for text in texts]
        flat = np.array([word for words in found for word in sorted(words)], dtype=object)
        code, spelt = pd.factorize(flat)
        text = np.repeat(np.arange(len(found)), [len(words) for words in found])
        return cls(list(spelt), text.astype(np.int64), code.astype(np.int64), len(found))


def tells(area: float) -> bool:
    """Whether an AUC is too good to be honest, either way round."""
    return area >= TELLS or area <= 1.0 - TELLS


def implied(question: Question, rows: NDArray, events: NDArray) -> tuple[int, str] | None:
    """The value whose rows are all but always events, in both halves; `rows`, `events`: (halves, values).

    A purchase implies a click, and tells it although most clicks end in none.
    """
    rate = float(question.yes.mean())
    if not question.events or rate > RARE:
        return None
    certain = (rows >= ENOUGH) & (events >= TELLS * rows)
    certain &= events >= SHARE * events.sum(axis=1, keepdims=True).clip(1)
    both = np.flatnonzero(certain.all(axis=0))
    if not len(both):
        return None
    best = int(both[events[:, both].sum(axis=0).argmax()])
    count, hits = int(rows[:, best].sum()), int(events[:, best].sum())
    return best, f"{question.words} in {hits:,} of its {count:,} rows (all rows: {rate:.1%})"


def binned(values: Floats, bins: int = 64) -> Integers:
    """Distinct values where they are few, else bins of equal mass."""
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) <= bins:
        return np.asarray(codes, dtype=np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.asarray(np.searchsorted(edges, values, side="right"), dtype=np.int64)


def label_leaks(
    store: LogStore, train: Integers, texts: Mapping[str, str], columns: FeatureColumns | None, funnel: TaskFunnel
) -> list[str]:
    """One sentence per input that tells a label."""
    needs = columns.needs if columns is not None else None
    found = []
    for kind, names in (("ids", needs.ids), ("numbers", needs.numbers)) if needs else ():
        for name in names:
            if name in store.funnel.names or name.startswith("oracle_p_"):
                found.append(f"features.{kind}: {name!r} is a label, or the truth behind one (known by its name)")
    targets = [Target.of(store, funnel, task, train) for task in funnel.tasks]
    targets = [target for target in targets if target.measurable]
    if not targets:
        return found
    rows = np.unique(np.concatenate([target.rows for target in targets]))
    sayings = [*_features(store, columns, targets, rows), *_texts(store, texts, targets, rows)]
    said_of: dict[str, list[str]] = {}
    for what, said in sayings:
        said_of.setdefault(what, []).append(said)
    return found + [f"{what} tells a label on training rows ({', '.join(said)})" for what, said in said_of.items()]


def _features(
    store: LogStore, columns: FeatureColumns | None, targets: Sequence[Target], rows: Integers
) -> Iterator[tuple[str, str]]:
    if columns is None:
        return
    raw = columns.raw(rows)
    for name in raw.columns:
        number = name in columns.needs.numbers
        values = (raw[name] if number else raw[name].cat.codes).to_numpy()
        for target in targets:
            own = values[np.searchsorted(rows, target.rows)]
            said = (
                target.told_by_number(own.astype(np.float64)) if number else target.told_by_value(own.astype(np.int64))
            )
            if said is not None:
                yield f"features.{'numbers' if number else 'ids'}: {name!r}", said
    for name in columns.needs.vectors:
        for target in targets:
            told = target.told_by_dimension(store.vectors(name), store.column("item")[target.rows].astype(np.int64))
            for place, said in told:
                yield f"features.vectors: dimension {place} of {name!r}", said


def _texts(
    store: LogStore, texts: Mapping[str, str], targets: Sequence[Target], rows: Integers
) -> Iterator[tuple[str, str]]:
    for side, template in texts.items():
        entities, place = np.unique(store.column(side)[rows], return_inverse=True)
        for name in fields_of(template):
            spelt = [str(v or "") for v in store.table(SIDES[side]).column(name).take(entities).to_pylist()]
            words, codes = Words.of(spelt), pd.factorize(np.array(spelt, dtype=object))[0].astype(np.int64)
            numbers = as_numbers(spelt)
            for target in targets:
                own = place[np.searchsorted(rows, target.rows)].astype(np.int64)
                said = target.told_by_words(words, own) or target.told_by_value(codes[own])
                said = said or (target.told_by_number(numbers[own]) if numbers is not None else None)
                if said is not None:
                    yield f"data.texts.{side}: {{{name}}}", said


def fields_of(template: str) -> list[str]:
    """Names between braces, each once."""
    return list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(template) if name))


def as_numbers(texts: Sequence[str]) -> Floats | None:
    """Texts that are numbers (nine in ten of them; the rest count as 0), else None."""
    values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    usable = np.isfinite(values)
    return np.where(usable, values, 0.0) if usable.mean() >= 0.9 else None


def _by_half(question: Question, codes: Integers, n: int = 0) -> list[tuple[Floats, Floats]]:
    """Of the fitted half, then of the other: rows and events of each value."""
    n = max(n, int(codes.max(initial=0)) + 1)
    weights = (np.ones(len(codes)), question.yes)
    halves = (question.fit, ~question.fit)
    return [tuple(np.bincount(codes[half], w[half], n) for w in weights) for half in halves]  # type: ignore[misc]
