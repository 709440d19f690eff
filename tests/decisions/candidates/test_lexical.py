"""Items that share words with the query."""

import bm25s
import numpy as np
import pytest

from funneltune.data import Asked
from funneltune.decisions.candidates import Lexical
from funneltune.errors import ConfigError

TEXTS = ["red running shoe", "blue shoe", "red red lamp", "desk", "blue shoe"]


def test_the_order_is_bm25s_own_and_what_shares_no_word_is_not_found():
    found = Lexical(TEXTS).find([Asked("red shoe"), Asked("desk"), Asked("zzz"), Asked(" ")], 4)
    direct = bm25s.BM25(k1=1.5, b=0.75)
    direct.index(bm25s.tokenize(TEXTS, stopwords=None, show_progress=False), show_progress=False)
    scores = direct.get_scores(["red", "shoe"])
    assert found.numbers[0].tolist() == np.argsort(-scores, kind="stable")[:4].tolist()
    np.testing.assert_allclose(found.scores[0], np.sort(scores)[::-1][:4], rtol=1e-6)
    assert found.numbers[1].tolist() == [3, -1, -1, -1]
    assert found.scores[1, 1:].tolist() == [-np.inf] * 3
    assert (found.numbers[2:] == -1).all()


def test_equal_items_come_in_the_logs_order_wherever_the_list_is_cut():
    lexical = Lexical(["a shoe"] * 50)
    for k in (1, 7, 50, 60):
        numbers = lexical.find([Asked("shoe")], k).numbers[0]
        assert numbers[:50].tolist() == list(range(min(k, 50)))
        assert (numbers[50:] == -1).all()


def test_nothing_cannot_be_asked_for():
    with pytest.raises(ConfigError, match="k=0 must be >= 1"):
        Lexical(TEXTS).find([Asked("red")], 0)
