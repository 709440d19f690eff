"""Tokens to words and their places."""

import numpy as np
import pytest

from funneltune.decisions.explanations.words import offsets_of, spans


def told(text, tokenizer, most=None):
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"][:most])
    offsets = offsets_of(text, tokenizer, ids)
    return [(text[one.start : one.stop], one.tokens) for one in spans(text, offsets)]


def test_pieces_of_a_word_are_one_word_at_its_place(tokenizer):
    found = told("Crocheted  wipe-clean napkins", tokenizer)
    assert [word for word, _ in found] == ["Crocheted", "wipe-clean", "napkins"]
    pieces = [place for _, tokens in found for place in tokens]
    assert pieces == list(range(len(pieces)))
    assert max(len(tokens) for _, tokens in found) > 1


def test_words_behind_the_cut_have_no_token(tokenizer):
    found = told("red running shoes for men", tokenizer, most=3)
    assert [tokens for _, tokens in found] == [(0,), (1,), (2,), (), ()]


def test_chinese_characters_stand_for_themselves(tokenizer):
    assert [word for word, _ in told("双人 sofa", tokenizer)] == ["双", "人", "sofa"]


@pytest.mark.parametrize(
    ("offsets", "wanted"),
    [
        ([(0, 2), (2, 3)], [("双人", (0,)), ("沙", (1,))]),
        ([(0, 0), (0, 2), (2, 3)], [("双人", (0, 1)), ("沙", (2,))]),
        ([(0, 1), (1, 2), (2, 3), (3, 3)], [("双", (0,)), ("人", (1,)), ("沙", (2, 3))]),
    ],
)
def test_words_that_share_a_token_are_one_and_a_token_of_no_character_has_a_neighbour(offsets, wanted):
    text = "双人沙"
    assert [(text[one.start : one.stop], one.tokens) for one in spans(text, offsets)] == wanted


def test_a_text_without_words_has_none():
    assert spans("  ", [(0, 1)]) == []
