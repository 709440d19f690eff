"""Items that share words with the query."""

from __future__ import annotations

from collections.abc import Sequence

from funneltune.data import Asked, LexicalIndex
from funneltune.decisions.candidates.protocol import Found, best, empty, require_count
from funneltune.decisions.scorer import Scorer


class Lexical:
    """BM25 over all item texts; an item that shares no word with the query is not found.

    Args:
        texts: (items,), by their number.
        k1, b: See `LexicalIndex`.
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.5, b: float = 0.75) -> None:
        self.index = LexicalIndex(texts, k1=k1, b=b)

    @classmethod
    def of(cls, scorer: Scorer) -> Lexical:
        """Over a run's catalogue, each item's text as the run reads it."""
        return cls(scorer.catalogue.titles)

    def find(self, asked: Sequence[Asked], k: int) -> Found:
        """The best k of each request by BM25; none without words."""
        require_count(k)
        found = empty(len(asked), k)
        for number, one in enumerate(asked):
            if one.query.strip():
                scores = self.index.scores(one.query)
                found.numbers[number], found.scores[number] = best(scores, k, scores > 0)
        return found
