"""Items by the cosine of their vectors: by hand, exact, and in cells."""

import sys

import numpy as np
import pytest

from funneltune.data import Asked
from funneltune.decisions.candidates import Semantic
from funneltune.errors import ConfigError

VECTORS = np.array([[1, 0], [3, 3], [0, 0.5], [-1, 0]], dtype=np.float32)
WORDS = {"right": [2.0, 0.0], "up": [0.0, 1.0]}


def encode(words):
    return np.array([WORDS[word] for word in words], dtype=np.float32)


def test_cosines_by_hand_whatever_the_vectors_lengths():
    found = Semantic(VECTORS, encode).find([Asked("right"), Asked(""), Asked("up")], 5)
    assert found.numbers.tolist() == [[0, 1, 2, 3, -1], [-1] * 5, [2, 1, 0, 3, -1]]
    np.testing.assert_allclose(found.scores[0, :4], [1, np.sqrt(0.5), 0, -1], atol=1e-6)
    assert found.scores[0, 4] == -np.inf


def test_with_all_cells_the_index_finds_what_the_exact_search_finds_and_with_one_it_finds_less():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3000, 8)).astype(np.float32)
    queries = rng.standard_normal((40, 8)).astype(np.float32)
    asked = [Asked(str(n)) for n in range(len(queries))]

    def of_number(words):
        return queries[[int(word) for word in words]]

    exact = Semantic(vectors, of_number, "exact").find(asked, 20)
    every = Semantic(vectors, of_number, "ivf", probes=10_000).find(asked, 20)
    assert every.numbers.tolist() == exact.numbers.tolist()
    np.testing.assert_allclose(every.scores, exact.scores, atol=1e-6)
    one = Semantic(vectors, of_number, "ivf", probes=1).find(asked, 20)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(one.numbers, exact.numbers, strict=True)]
    assert 0 < np.mean(shared) < 20
    assert np.isneginf(one.scores[one.numbers < 0]).all()


def test_a_large_catalogue_is_searched_in_an_index_of_its_own_accord(monkeypatch):
    assert Semantic(VECTORS, encode).index is None
    monkeypatch.setattr("funneltune.decisions.candidates.semantic.LARGE", 4)
    assert Semantic(VECTORS, encode).index is not None
    assert Semantic(VECTORS, encode, "exact").index is None
    assert Semantic(VECTORS, encode).find([Asked("right")], 6).numbers.tolist() == [[0, 1, 2, 3, -1, -1]]


def test_what_cannot_be_searched_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="index='hnsw' must be one of auto, exact, ivf"):
        Semantic(VECTORS, encode, "hnsw")
    with pytest.raises(ConfigError, match="probes=0 must be >= 1"):
        Semantic(VECTORS, encode, probes=0)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        ConfigError, match=r"index=ivf needs a package that is not installed: pip install 'funneltune\["
    ):
        Semantic(VECTORS, encode, "ivf")
