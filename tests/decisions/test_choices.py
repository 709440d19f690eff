"""Policies that fill places: chances by hand, chances that add up, means that are those of the chances."""

import numpy as np
import pytest

from funneltune.decisions.choices import KINDS, Choices, Chooser
from funneltune.errors import ConfigError

SCORE = np.array([[0.1, 0.4, 0.2, 0.3]])
ALL = np.ones((1, 4), dtype=bool)
LOGGING = np.array([[0.4, 0.1, 0.4, 0.1]])
PAGE = np.array([[2, 1]])


def test_softmax_at_temperature_one_is_proportional_to_the_score():
    choices = Chooser("softmax").over(SCORE, ALL)
    np.testing.assert_allclose(choices.chances(PAGE), [[0.2, 0.4 / 0.8]])
    cold = Chooser("softmax", temperature=0.5).over(SCORE, ALL)
    np.testing.assert_allclose(cold.chances(PAGE)[0, 0], 0.04 / 0.3)


def test_tilted_multiplies_the_logging_chances():
    choices = Chooser("tilted").over(SCORE, ALL, LOGGING)
    share = (LOGGING * SCORE)[0] / (LOGGING * SCORE).sum()
    np.testing.assert_allclose(choices.chances(PAGE), [[share[2], share[1] / (1 - share[2])]])


def test_epsilon_takes_the_best_that_is_not_above_and_explores_the_rest():
    choices = Chooser("epsilon", epsilon=0.2).over(SCORE, ALL)
    np.testing.assert_allclose(choices.chances(PAGE), [[0.2 / 4, 0.8 + 0.2 / 3]])
    np.testing.assert_allclose(choices.chances(np.array([[1, 3]])), [[0.8 + 0.2 / 4, 0.8 + 0.2 / 3]])


def test_what_is_not_on_sale_has_no_chance():
    on_sale = np.array([[True, False, True, True]])
    for kind in ("softmax", "epsilon", "tilted", "uniform"):
        choices = Chooser(kind).over(SCORE, on_sale, LOGGING)
        assert choices.share[0, 1] == 0
        assert choices.chances(np.array([[3, 0]]))[0, 0] > 0
    assert Chooser("epsilon", epsilon=0.0).over(SCORE, on_sale).chances(np.array([[3, 2]])).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("kind", ["softmax", "epsilon", "tilted", "uniform"])
@pytest.mark.parametrize("temperature", [1.0, 0.02])
def test_chances_of_a_place_add_up_and_give_the_mean(kind, temperature):
    rng = np.random.default_rng(0)
    score, logging = rng.random((3, 6)), rng.dirichlet(np.ones(6), 3)
    page = np.stack([rng.permutation(6)[:4] for _ in range(3)])
    page[0] = np.argsort(-score[0])[:4]  # a sharp softmax has all but spent itself above
    values = rng.random((3, 6))
    choices = Chooser(kind, temperature=temperature).over(score, np.ones((3, 6), bool), logging)
    for place in range(4):
        chance = np.zeros((3, 6))
        for item in range(6):
            other = page.copy()
            other[:, place] = item
            chance[:, item] = np.where((page[:, :place] == item).any(axis=1), 0.0, choices.chances(other)[:, place])
        np.testing.assert_allclose(chance.sum(axis=1), 1.0)
        np.testing.assert_allclose(choices.mean(values, page)[:, place], (chance * values).sum(axis=1))


def test_scores_of_zero_everywhere_choose_alike():
    choices = Chooser("softmax").over(np.zeros((1, 4)), np.array([[True, True, False, True]]))
    np.testing.assert_allclose(choices.share, [[1 / 3, 1 / 3, 0, 1 / 3]])


def test_a_shares_own_policy_has_the_chances_of_plackett_and_luce():
    choices = Choices(LOGGING)
    np.testing.assert_allclose(choices.chances(PAGE), [[0.4, 0.1 / 0.6]])


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"kind": "soft"}, f"policy=soft must be one of {', '.join(KINDS)}"),
        ({"kind": "softmax", "temperature": 0.0}, "temperature=0 must be > 0"),
        ({"kind": "epsilon", "epsilon": 1.5}, "epsilon=1.5 must lie in"),
    ],
)
def test_knobs_out_of_range_are_refused(knobs, told):
    with pytest.raises(ConfigError, match=told):
        Chooser(**knobs)


def test_tilting_an_unknown_logging_policy_is_refused():
    with pytest.raises(ConfigError, match="policy=tilted needs the logging policy's chances of all candidates"):
        Chooser("tilted").over(SCORE, ALL)
