"""Words against texts: one BM25 index that baselines and retrieval share."""

from __future__ import annotations

import re
from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+")


class LexicalIndex:
    """BM25 over some texts (Robertson & Zaragoza 2009, eq. 3.15, with Lucene's IDF, which is never negative).

    Words are lower-cased, neither stemmed nor stopped; Chinese, Japanese and Korean are read as overlapping pairs of
    characters, as Lucene's CJK analysis reads them.

    Args:
        texts: What is searched; their number is a text's name.
        k1: How soon a word's repetitions stop counting.
        b: How much a long text is held against it.
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.5, b: float = 0.75) -> None:
        self.size = len(texts)
        self.index = bm25s.BM25(k1=k1, b=b)
        words = bm25s.tokenize([cjk_pairs(text) for text in texts], stopwords=None, show_progress=False)
        self.empty = not words.vocab or not any(len(ids) for ids in words.ids)
        if not self.empty:  # bm25s refuses texts without a single word
            self.index.index(words, show_progress=False)

    def scores(self, query: str) -> NDArray[np.float64]:
        """(texts,): each text's score, >= 0; 0 where it shares no word with the query."""
        if self.empty:
            return np.zeros(self.size)
        words = bm25s.tokenize([cjk_pairs(query)], stopwords=None, return_ids=False, show_progress=False)[0]
        known = [word for word in words if word in self.index.vocab_dict]
        if not known:
            return np.zeros(self.size)
        return np.asarray(self.index.get_scores(known), dtype=np.float64)


def cjk_pairs(text: str) -> str:
    """Runs of Chinese, Japanese or Korean characters as overlapping pairs between blanks; all else is left alone.

    >>> cjk_pairs("法式双人沙发 2-seater")
    ' 法式 式双 双人 人沙 沙发  2-seater'
    """

    def pairs(run: re.Match[str]) -> str:
        found = run.group()
        if len(found) == 1:
            return f" {found}_ "  # the word pattern takes no single character
        return " " + " ".join(found[i : i + 2] for i in range(len(found) - 1)) + " "

    return CJK.sub(pairs, text)
