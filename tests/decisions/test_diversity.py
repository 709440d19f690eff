"""How alike items are, by their vectors or by their columns."""

import numpy as np
import pytest

from funneltune.decisions.diversity import ColumnLikeness, VectorLikeness, intra_list_similarity


def test_vectors_are_alike_by_their_cosine_and_one_of_zeros_is_like_nothing():
    likeness = VectorLikeness(np.array([[2.0, 0.0], [3.0, 3.0], [0.0, 0.0], [-1.0, 0.0]]))
    np.testing.assert_allclose(likeness.to(0), [1, np.sqrt(0.5), 0, -1])
    assert likeness.to(2).tolist() == [0, 0, 0, 0]


def test_columns_are_alike_by_the_share_of_equal_values():
    likeness = ColumnLikeness(np.array([[0, 1], [0, 2], [1, 1], [0, 1]]))
    assert likeness.to(0).tolist() == [1, 0.5, 0.5, 1]


def test_a_pages_similarity_is_the_mean_over_its_pairs():
    likeness = ColumnLikeness(np.array([[0, 1], [0, 2], [1, 1], [0, 1]]))
    assert intra_list_similarity(likeness, np.array([0, 1, 2])) == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert intra_list_similarity(likeness, np.array([3, 0])) == 1
    assert np.isnan(intra_list_similarity(likeness, np.array([3])))
