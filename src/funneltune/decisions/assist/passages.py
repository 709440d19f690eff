"""What can answer a question: the run's items, and sentences of reviews about them.

Legend: P passages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.requests import read_frame
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError

_END = re.compile("(?<=[.!?\u3002\uff01\uff1f])\\s*(?=\\S)")


@dataclass(frozen=True)
class Passages:
    """P passages, the items first."""

    keys: list[str]
    """An item's identifier; of a sentence `item#number`, counted from 0 among those about the item."""
    texts: list[str]
    """As shown: the item's title, the sentence."""
    items: NDArray[np.int64]
    """The item that each is about."""
    read: list[str]
    """As read: a sentence behind its item's title."""

    def __len__(self) -> int:
        """P."""
        return len(self.keys)

    def is_review(self, number: int) -> bool:
        """Whether a passage is a sentence of a review."""
        return "#" in self.keys[number]


def passages_of(scorer: Scorer, sentences: Sequence[tuple[int, str]]) -> Passages:
    """The run's items, then sentences: (item number, text), numbered in their order."""
    catalogue = scorer.catalogue
    keys, texts, read = list(catalogue.keys), list(catalogue.titles), list(catalogue.titles)
    items, so_far = list(range(len(catalogue))), dict[int, int]()
    for item, text in sentences:
        number = so_far[item] = so_far.get(item, -1) + 1
        keys.append(f"{catalogue.keys[item]}#{number}")
        texts.append(text)
        read.append(f"{catalogue.titles[item]}: {text}")
        items.append(item)
    return Passages(keys, texts, np.array(items, dtype=np.int64), read)


def read_reviews(path: Path, scorer: Scorer) -> list[tuple[int, str]]:
    """Sentences of a file of reviews: columns `item`, `text`.

    Raises:
        DataError: if a column is missing, or an item is none of the log's.
    """
    frame = read_frame(path, "reviews")
    for name in ("item", "text"):
        if name not in frame:
            raise DataError(f"reviews={path}: column {name!r} is missing; it needs item and text.")
    found = []
    for row, (item, text) in enumerate(
        zip(frame["item"].astype(str), frame["text"].astype(object).fillna(""), strict=True), 1
    ):
        try:
            number = scorer.catalogue.number(item)
        except ConfigError as error:
            raise DataError(f"reviews={path}: row {row}: {error}") from None
        found += [(number, sentence) for sentence in split_sentences(str(text))]
    return found


def split_sentences(text: str) -> list[str]:
    """Sentences by their ends.

    >>> split_sentences("Good value. Fits well! Bought two?")
    ['Good value.', 'Fits well!', 'Bought two?']
    """
    return [part.strip() for part in _END.split(text) if part.strip()]
