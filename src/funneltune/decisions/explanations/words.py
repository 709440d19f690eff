"""Tokens back to the words of a text, by their places in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and Chinese characters."""
WORD = re.compile(f"[{SINGLE}]|[^\\s{SINGLE}]+")
"""What stands between blanks; Chinese and Japanese characters each for itself, as tokenizers mostly read them."""


@dataclass(frozen=True)
class Span:
    """A word of a text, and the tokens that it was read as."""

    start: int
    stop: int
    """Characters of the text, `text[start:stop]`."""
    tokens: tuple[int, ...]
    """Places among the text's tokens; none of a word behind the longest text that the model reads."""


def spans(text: str, offsets: Sequence[tuple[int, int]]) -> list[Span]:
    """The words of a text with their tokens. Words that share a token are one.

    A token without characters (a blank that stands alone) belongs to the word behind it, else to the one before.

    >>> [(one.start, one.stop, one.tokens) for one in spans("red shoes", [(0, 3), (4, 8), (8, 9)])]
    [(0, 3, (0,)), (4, 9, (1, 2))]
    """
    found = [[match.start(), match.end(), []] for match in WORD.finditer(text)]
    words: list[list[Any]] = [list(word) for word in found]
    for token, (start, stop) in enumerate(offsets):
        touched = [word for word in words if word[0] < stop and start < word[1]] or _near(words, start)
        if not touched:
            continue
        first = touched[0]
        first[1] = touched[-1][1]
        first[2] = [place for word in touched for place in word[2]] + [token]
        words = [word for word in words if word is first or all(word is not other for other in touched)]
    return [Span(start, stop, tuple(tokens)) for start, stop, tokens in words]


def _near(words: list[list[Any]], place: int) -> list[list[Any]]:
    """The word behind a place, else the last one."""
    behind = [word for word in words if word[0] >= place]
    return behind[:1] or words[-1:]


def offsets_of(text: str, tokenizer: Any, ids: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The characters of each token of a text that was read as `ids`; the first ones where it was cut."""
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    read = np.asarray(found["input_ids"][: len(ids)], dtype=np.int64)
    assert np.array_equal(read, ids), "the tokens are not this text's"
    return [(int(start), int(stop)) for start, stop in found["offset_mapping"][: len(ids)]]
