import numpy as np
import pytest
import torch

from funneltune.backbones.layout import PACKED_ROW, chunks
from funneltune.schema import Texts


def texts_of(lengths):
    lengths = torch.tensor(lengths)
    return Texts(torch.arange(1, int(lengths.sum()) + 1), lengths, lengths)


def test_every_token_has_a_place_of_its_own_and_stands_with_its_text():
    texts = texts_of(np.random.default_rng(0).integers(3, 40, 70).tolist())
    (chunk,) = chunks(texts, 10_000, packed=True)
    flat = chunk.input_ids.reshape(-1)
    assert torch.equal(flat[chunk.place], texts.token_ids)
    assert len(set(chunk.place.tolist())) == len(texts.token_ids)
    rows = chunk.place // chunk.input_ids.shape[1]
    for text in range(len(texts.lengths)):
        places = chunk.place[chunk.text == text]
        assert torch.equal(places.diff(), torch.ones(len(places) - 1, dtype=torch.long))
        assert rows[chunk.text == text].unique().numel() == 1
    assert chunk.mask.any(-1).all()  # no position looks nowhere: its softmax would be NaN


def test_rows_are_filled_where_taking_texts_as_they_come_leaves_room():
    # As they come 40 + 30 | 24 + 34 | ... : six rows of 64. Fitted: 40 + 24, 34 + 30, twice over.
    (chunk,) = chunks(texts_of([40, 34, 40, 34, 30, 24, 30, 24]), 10_000, packed=True)
    assert tuple(chunk.input_ids.shape) == (4, PACKED_ROW)


@pytest.mark.parametrize("packed", [True, False])
def test_a_text_longer_than_a_row_widens_the_rows(packed):
    (chunk,) = chunks(texts_of([PACKED_ROW + 7, 5]), 10_000, packed=packed)
    assert chunk.input_ids.shape[1] == PACKED_ROW + 7
