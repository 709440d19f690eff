"""Items that everybody takes."""

import numpy as np
import pytest

from funneltune.data import Asked
from funneltune.decisions.candidates import Popular
from funneltune.errors import ConfigError

SHOWN, TAKEN = np.array([100.0, 2.0, 0.0, 40.0]), np.array([20.0, 2.0, 0.0, 14.0])


def test_rates_are_drawn_towards_the_mean_so_that_two_of_two_do_not_win():
    found = Popular(SHOWN, TAKEN, strength=20).find([Asked("x"), Asked()], 3)
    mean = 36 / 142
    rates = [(20 + 20 * mean) / 120, (2 + 20 * mean) / 22, mean, (14 + 20 * mean) / 60]
    assert found.numbers.tolist() == [np.argsort(-np.array(rates))[:3].tolist()] * 2 == [[1, 3, 2]] * 2
    np.testing.assert_allclose(found.scores[1], sorted(rates, reverse=True)[:3])
    assert Popular(SHOWN, TAKEN, strength=200).find([Asked()], 1).numbers.tolist() == [[3]]


def test_counts_say_how_often():
    assert Popular(SHOWN, TAKEN, by="count").find([Asked()], 5).numbers.tolist() == [[0, 3, 1, 2, -1]]


def test_wrong_words_are_refused():
    with pytest.raises(ConfigError, match="by='clicks' must be one of rate, count"):
        Popular(SHOWN, TAKEN, by="clicks")
    with pytest.raises(ConfigError, match="strength=0 must be > 0"):
        Popular(SHOWN, TAKEN, strength=0)
