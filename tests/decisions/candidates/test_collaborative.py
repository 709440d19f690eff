"""What shoppers of the same past took: by hand, and against the library's own lists."""

import sys
import warnings

import numpy as np
import pytest
from scipy import sparse

from funneltune.data import Asked
from funneltune.decisions.candidates import Collaborative
from funneltune.errors import ConfigError

USER = np.array([0, 0, 1, 1, 1, 2, 2])
ITEM = np.array([0, 1, 0, 1, 2, 3, 4])
"""Of 6 items: shoppers 0 and 1 share 0 and 1, shopper 2 is apart, item 5 was never taken."""
PASTS = {"zero": [1], "two": [4], "untaken": [5], "": []}


def past(asked, most):
    found = np.full((len(asked), most), -1)
    for row, one in enumerate(asked):
        found[row, : len(PASTS[one.user])] = PASTS[one.user]
    return found


def made(method, **more):
    return Collaborative(USER, ITEM, 6, past, method, **more)


ASKED = [Asked(user=user) for user in PASTS]


def test_item_item_cosines_by_hand_without_what_the_shopper_has():
    found = made("cosine").find(ASKED, 3)
    assert found.numbers.tolist() == [[0, 2, -1], [3, -1, -1], [-1] * 3, [-1] * 3]
    np.testing.assert_allclose(found.scores[0, :2], [1.0, 1 / np.sqrt(2)])  # items 1 and 2: 1 of 2 x 1 shoppers


@pytest.mark.parametrize("method", ["cosine", "bm25"])
def test_neighbours_are_the_librarys_own(method):
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

    rng = np.random.default_rng(1)
    user, item = rng.integers(0, 60, 600), rng.integers(0, 40, 600)
    counts = sparse.csr_matrix((np.ones(600), (user, item)), shape=(60, 40))
    model = {"cosine": CosineRecommender, "bm25": BM25Recommender}[method](K=100, num_threads=1)
    with warnings.catch_warnings():  # of its own transposed matrix
        warnings.simplefilter("ignore")
        model.fit(counts, show_progress=False)
    row = sparse.csr_matrix((np.ones(2), [3, 17], [0, 2]), shape=(1, 40))
    numbers, scores = model.recommend(0, row, N=10)
    ours = Collaborative(user, item, 40, lambda asked, most: np.array([[17, 3, -1]]), method).find([Asked()], 10)
    np.testing.assert_allclose(ours.scores[0], scores, rtol=1e-6)
    assert set(ours.numbers[0, :9].tolist()) >= set(numbers[scores > scores[-1]].tolist())


def test_factors_find_the_shoppers_own_group_and_are_the_same_for_a_seed():
    found = made("als", factors=2).find(ASKED, 2)
    assert set(found.numbers[0].tolist()) == {0, 2}
    assert found.numbers[1, 0] == 3
    assert (found.numbers[2:] == -1).all()
    np.testing.assert_array_equal(found.scores, made("als", factors=2).find(ASKED, 2).scores)


def test_an_item_that_nobody_took_is_never_found():
    for method in ("cosine", "bm25", "als"):
        assert 5 not in made(method).find(ASKED[:2], 6).numbers


def test_without_any_event_nothing_is_found():
    none = np.zeros(0, dtype=np.int64)
    assert (Collaborative(none, none, 6, past).find(ASKED, 2).numbers == -1).all()
    assert made("cosine").find([], 2).numbers.shape == (0, 2)


def test_wrong_words_and_a_missing_library_are_told(monkeypatch):
    with pytest.raises(ConfigError, match="method='knn' must be one of cosine, bm25, als"):
        made("knn")
    with pytest.raises(ConfigError, match="factors=0 must be >= 1"):
        made("als", factors=0)
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(ConfigError, match=r"pip install 'funneltune\[retrieve\]'"):
        made("cosine")
