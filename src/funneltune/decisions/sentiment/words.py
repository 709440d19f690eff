"""Which words go with a run's opinion: left out of one review, or over many reviews."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from funneltune.decisions.sentiment.reviews import Reader, Said
from funneltune.metrics.ties import Floats

WORD = re.compile(r"[^\W\d_][\w'\u2019-]+")
MOST = 200
"""Words of one review that are left out in turn."""
SHRINK = 5.0
"""Reviews without an opinion that each word is given: a word of two reviews says little."""
FEWEST = 3
"""Reviews that a word must stand in."""


@dataclass(frozen=True)
class Push:
    """How a word moves what is said."""

    word: str
    rating: float
    recommended: float
    reviews: int = 1


def left_out(reader: Reader, text: str, item: str) -> tuple[Said, list[Push]]:
    """A review's prediction, and what each word adds: with it less without it (Zeiler and Fergus 2014: occlusion).
    The first so many words, in their order.
    """
    spans = [match.span() for match in WORD.finditer(text)][:MOST]
    without = [f"{text[:start]}{text[end:]}" for start, end in spans]
    kept = [n for n, words in enumerate(without) if words.strip(" .,;:!?")]
    said = reader.of_texts([text, *(without[n] for n in kept)], [item] * (len(kept) + 1))
    rating = said.rating(reader.worth)
    pushes = [
        Push(
            text[slice(*spans[n])],
            float(rating[0] - rating[place]),
            float(said.recommended[0] - said.recommended[place]),
        )
        for place, n in enumerate(kept, 1)
    ]
    return Said(said.levels[:1], said.recommended[:1]), pushes


def in_common(texts: Sequence[str], rating: Floats, recommended: Floats, most: int) -> tuple[list[Push], list[Push]]:
    """Words whose reviews are predicted better, and worse, than the group's others: the mean with the word less the
    group's mean, times n / (n + 5). Words of over half of the reviews, and function words, are left out.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    where: dict[str, list[int]] = defaultdict(list)
    for n, text in enumerate(texts):
        for word in {match.group().lower() for match in WORD.finditer(text)} - ENGLISH_STOP_WORDS:
            where[word].append(n)
    mean, likes = float(rating.mean()), float(recommended.mean())
    found = []
    for word, rows in where.items():
        if not FEWEST <= len(rows) <= max(len(texts) / 2, FEWEST):
            continue
        weight = len(rows) / (len(rows) + SHRINK)
        apart = weight * (float(rating[rows].mean()) - mean)
        found.append(Push(word, apart, weight * (float(recommended[rows].mean()) - likes), len(rows)))
    found.sort(key=lambda push: (-push.rating, push.word))
    up = [push for push in found[:most] if push.rating > 0]
    return up, [push for push in found[::-1][:most] if push.rating < 0]
