"""Words against texts, by hand and against the library."""

import math

import bm25s
import numpy as np
import pytest

from funneltune.data import LexicalIndex, smoothed_rates

TEXTS = ["red running shoe", "blue shoe", "red red lamp", "desk"]


def test_a_score_is_that_of_the_formula_by_hand():
    found = LexicalIndex(TEXTS).scores("Red SHOE")
    mean_length = (3 + 2 + 3 + 1) / 4

    def term(count, length):
        idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))  # both words stand in two of four texts
        return idf * count / (count + 1.5 * (1 - 0.75 + 0.75 * length / mean_length))

    assert found == pytest.approx([2 * term(1, 3), term(1, 2), term(2, 3), 0.0], rel=1e-6)


def test_scores_are_those_of_bm25s_itself():
    direct = bm25s.BM25(k1=1.2, b=0.5)
    direct.index(bm25s.tokenize(TEXTS, stopwords=None, show_progress=False), show_progress=False)
    found = LexicalIndex(TEXTS, k1=1.2, b=0.5).scores("red lamp")
    np.testing.assert_allclose(found, direct.get_scores(["red", "lamp"]))


@pytest.mark.parametrize("texts", [[""], ["", ""], ["a", "b"]])
def test_texts_without_a_word_and_words_that_no_text_has_score_nothing(texts):
    assert LexicalIndex(texts).scores("red").tolist() == [0.0] * len(texts)
    assert LexicalIndex(TEXTS).scores("zzz").tolist() == LexicalIndex(TEXTS).scores("").tolist() == [0.0] * 4


def test_rates_are_drawn_towards_the_mean_and_none_is_shown_without_fault():
    found = smoothed_rates(np.array([10.0, 0.0, 30.0]), np.array([5.0, 0.0, 5.0]), strength=20.0)
    assert found == pytest.approx([(5 + 20 * 0.25) / 30, 0.25, (5 + 20 * 0.25) / 50])
    assert smoothed_rates(np.zeros(2), np.zeros(2)).tolist() == [0.0, 0.0]
