"""A frozen backbone reads each text once; whatever is kept is what it would say again."""

import pytest
import torch

from funneltune.backbones import Encoder
from funneltune.schema import Texts


def texts(*ids, first=None):
    """Texts of these token ids, shortest first."""
    lengths = torch.tensor([len(t) for t in ids])
    return Texts(torch.tensor([i for t in ids for i in t]), lengths, lengths if first is None else torch.tensor(first))


A, B, C, D = [101, 7, 102], [101, 8, 102], [101, 7, 9, 102], [101, 7, 9, 11, 102]


@pytest.fixture
def frozen(tiny_backbone):
    encoder = Encoder(tiny_backbone.model(), remember=100)
    encoder.boundary = encoder.n_layers
    encoder.asked = []
    encode = encoder._encode
    encoder._encode = lambda batch: encoder.asked.append(len(batch)) or encode(batch)
    return encoder


def test_a_text_is_encoded_once_and_its_vector_is_the_plain_one(frozen, tiny_backbone):
    plain = Encoder(frozen.backbone)
    for batch in (texts(A, C), texts(A, B, C, D), texts(B, D)):
        torch.testing.assert_close(frozen(batch), plain.eval()(batch).detach(), atol=1e-6, rtol=1e-6)
    assert frozen.asked == [2, 2]


def test_a_text_with_another_second_segment_is_another_text(frozen):
    one, other = frozen(texts(D, first=[5])), frozen(texts(D, first=[2]))
    assert frozen.asked == [1, 1]
    assert not torch.allclose(one, other)


def test_a_text_that_a_batch_repeats_is_encoded_and_kept_once(frozen):
    first = frozen(texts(A, A, B))
    assert frozen.asked == [2]
    torch.testing.assert_close(first[0], first[1], rtol=0, atol=0)
    frozen(texts(C))
    torch.testing.assert_close(frozen(texts(A, B, C))[:2], first[1:], rtol=0, atol=0)
    assert frozen.asked == [2, 1]


def test_beyond_the_limit_texts_are_encoded_each_time(frozen):
    frozen.memory.limit = 2
    first = frozen(texts(A, B, C))
    assert len(frozen.memory) == 2
    torch.testing.assert_close(frozen(texts(A, B, C)), first, atol=1e-6, rtol=1e-6)
    assert frozen.asked == [3, 1]


def test_the_memory_grows_past_its_first_block(frozen):
    frozen.memory.limit = 5000
    many = [[101, 1000 + i, 102] for i in range(1500)]
    first = frozen(texts(*many[:900])), frozen(texts(*many[900:]))
    torch.testing.assert_close(frozen(texts(*many)), torch.cat(first), atol=1e-6, rtol=1e-6)
    assert frozen.asked == [900, 600]


def test_new_weights_forget_the_old_vectors(frozen):
    before = frozen(texts(A))
    frozen.load_state_dict({k: v * 1.5 for k, v in frozen.state_dict().items()})
    assert not torch.allclose(frozen(texts(A)), before)


def test_nothing_is_kept_where_anything_is_trained(frozen):
    frozen.boundary = frozen.n_layers - 1
    assert frozen(texts(A)).requires_grad
    assert len(frozen.memory) == 0
