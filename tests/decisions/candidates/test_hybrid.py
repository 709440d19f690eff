"""Several ways at once, by reciprocal ranks."""

import numpy as np
import pytest

from funneltune.data import Asked
from funneltune.decisions.candidates import Convex, Found, Hybrid, Popular
from funneltune.errors import ConfigError


class Says:
    """A way with a fixed list for every request."""

    def __init__(self, *numbers):
        self.numbers, self.asked_for = np.array(numbers), 0

    def find(self, asked, k):
        self.asked_for = k
        row = np.full(k, -1)
        row[: min(k, len(self.numbers))] = self.numbers[:k]
        return Found(np.tile(row, (len(asked), 1)), np.where(row < 0, -np.inf, 1.0) * np.ones((len(asked), 1)))


def test_scores_by_hand():
    found = Hybrid({"one": Says(7, 3, 5), "two": Says(3, 9)}).find([Asked()] * 2, 5)
    assert found.numbers.tolist() == [[3, 7, 9, 5, -1]] * 2
    np.testing.assert_allclose(found.scores[0, :4], [1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])
    assert found.scores[0, 4] == -np.inf


def test_weights_and_the_constant_decide():
    ways = {"one": Says(7, 3), "two": Says(3, 7)}
    assert Hybrid(ways, {"one": 2.0}).find([Asked()], 2).numbers.tolist() == [[7, 3]]
    found = Hybrid(ways, {"one": 0.0}, constant=1.0).find([Asked()], 2)
    np.testing.assert_allclose(found.scores, [[1 / 2, 1 / 3]])
    assert found.numbers.tolist() == [[3, 7]]
    assert Hybrid({"one": Says(7)}, {"one": 0.0}).find([Asked()], 2).numbers.tolist() == [[-1, -1]]


def test_where_a_way_says_nothing_the_others_stand_in():
    found = Hybrid({"silent": Says(), "popular": Popular(np.ones(3), np.array([0.0, 1.0, 0.5]))}).find([Asked()], 3)
    assert found.numbers.tolist() == [[1, 2, 0]]
    assert (Hybrid({"silent": Says()}).find([Asked()], 3).numbers == -1).all()


def test_each_way_brings_at_least_its_depth():
    way = Says(*range(10))
    Hybrid({"one": way}, depth=8).find([Asked()], 3)
    assert way.asked_for == 8
    Hybrid({"one": way}, depth=8).find([Asked()], 20)
    assert way.asked_for == 20


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ways": {}}, "there is none to fuse"),
        ({"weights": {"two": 1.0}}, "weights: two=1.0 names none of one"),
        ({"weights": {"one": -1.0}}, "weights: one=-1.0 must be >= 0"),
        ({"constant": 0.0}, "constant=0.0 must be > 0"),
        ({"depth": 0}, "depth=0 must be >= 1"),
    ],
)
def test_wrong_words_are_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        Hybrid(**{"ways": {"one": Says(1)}, **given})


class Scores:
    """A way with fixed items and scores."""

    def __init__(self, scores):
        self.scores = scores

    def find(self, asked, k):
        numbers, scores = np.full((len(asked), k), -1), np.full((len(asked), k), -np.inf)
        numbers[:, : len(self.scores)], scores[:, : len(self.scores)] = list(self.scores), list(self.scores.values())
        return Found(numbers, scores)


def test_a_weighted_sum_of_scores_by_hand_with_the_lowest_where_a_way_did_not_find_an_item():
    ways = {"one": Scores({4: 10.0, 2: 0.0}), "two": Scores({2: 3.0, 7: 1.0}), "silent": Scores({})}
    found = Convex(ways, {"one": 2.0}, depth=5).find([Asked()] * 2, 4)
    one = np.array([0.0, 10.0, 0.0])  # of items 2, 4, 7; 7 was not found
    two = np.array([3.0, 1.0, 1.0])
    fused = sum(w * (x - x.mean()) / x.std() for w, x in ((2, one), (1, two))) / 3
    assert found.numbers.tolist() == [[4, 2, 7, -1]] * 2
    np.testing.assert_allclose(found.scores[0, :3], fused[[1, 0, 2]])
    assert (Convex({"silent": Scores({})}, depth=5).find([Asked()], 3).numbers == -1).all()


def test_a_way_without_weight_brings_nothing():
    found = Convex({"one": Scores({4: 1.0, 5: 0.5}), "two": Scores({8: 9.0})}, {"two": 0.0}, depth=5).find([Asked()], 3)
    assert found.numbers.tolist() == [[4, 5, -1]]
    with pytest.raises(ConfigError, match="weights: three=1.0 names none of one"):
        Convex({"one": Scores({})}, {"three": 1.0})
    with pytest.raises(ConfigError, match="depth=0 must be >= 1"):
        Convex({"one": Scores({})}, depth=0)
