"""Questions whose answers are known: from a file, or of the marketplace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.decisions.assist.passages import Passages
from funneltune.decisions.requests import read_frame
from funneltune.errors import DataError

PARTS = ("fit", "calibrate", "test")
SHARES = (0.4, 0.3, 0.3)
LEAST = 60
"""Labelled questions below which no threshold is worth its name."""


@dataclass(frozen=True)
class Labelled:
    """A question and what answers it."""

    text: str
    intent: str
    """Empty where it is not told."""
    answers: frozenset[str]
    """Identifiers of passages or items; empty: nothing answers it."""

    def right(self, passages: Passages, number: int) -> bool:
        """Whether a passage answers it: it is named, or the item that it is about is."""
        key = passages.keys[number]
        return key in self.answers or key.partition("#")[0] in self.answers


def read_labelled(path: Path, passages: Passages) -> list[Labelled]:
    """A file of questions: `question`, `answer` (identifiers of items or review sentences, item#number, between bars;
    empty: nothing answers it), and if it is known `intent`.

    Raises:
        DataError: if a column is missing, an answer is no passage, or there are too few questions.
    """
    frame = read_frame(path, "questions")
    for name in ("question", "answer"):
        if name not in frame:
            raise DataError(f"questions={path}: column {name!r} is missing; it needs question and answer (and intent).")
    known, found = set(passages.keys), []
    intents = _texts(frame["intent"]) if "intent" in frame else [""] * len(frame)
    rows = zip(_texts(frame["question"]), _texts(frame["answer"]), intents, strict=True)
    for row, (question, answer, intent) in enumerate(rows, 1):
        answers = frozenset(part.strip() for part in answer.split("|") if part.strip())
        if not question.strip():
            raise DataError(f"questions={path}: row {row} has no question.")
        if unknown := sorted(answers - known):
            raise DataError(
                f"questions={path}: row {row}: answer={unknown[0]} is no item and no sentence of the reviews."
            )
        found.append(Labelled(question, intent, answers))
    if len(found) < LEAST:
        raise DataError(
            f"questions={path} has {len(found)} questions; a threshold needs {LEAST} or more: some to learn confidence "
            "from, some to set it, some to judge it."
        )
    return found


def _texts(column: pd.Series[Any]) -> list[str]:
    return column.astype(object).fillna("").astype(str).tolist()


def parts_of(n: int, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Questions by what they are used for, each for one thing: fit, calibrate, test."""
    order = np.random.default_rng([seed, n]).permutation(n)
    ends = np.cumsum([round(share * n) for share in SHARES[:-1]])
    return dict(zip(PARTS, np.split(order, ends), strict=True))
