"""Answering only what one is sure of."""

import math

import numpy as np
import pytest

from funneltune.errors import ConfigError
from funneltune.metrics.selective import error_bound, risk_coverage, threshold_for


def test_risk_and_coverage_by_hand():
    coverage, risk = risk_coverage([0.9, 0.2, 0.8, 0.8], [1, 0, 1, 0])
    assert coverage == pytest.approx([0.25, 0.75, 0.75, 1.0])
    assert risk == pytest.approx([0.0, 1 / 3, 1 / 3, 0.5])  # questions of one confidence are answered together


def test_the_bound_is_the_chance_that_still_gives_so_few_errors():
    assert error_bound(0, 10) == pytest.approx(1 - 0.05 ** (1 / 10))
    assert error_bound(0, 0) == error_bound(3, 3) == 1.0
    assert error_bound(1, 50) > 1 / 50


def world(rng, n):
    sure = rng.random(n)
    return sure, rng.random(n) < sure**0.5


def test_the_promise_is_kept_as_often_as_it_says():
    rng = np.random.default_rng(0)
    far = world(rng, 200_000)
    broken = coverage = 0.0
    for _ in range(300):
        found = threshold_for(*world(rng, 300), precision=0.8, assurance=0.9)
        answered = far[0] >= found.value
        coverage += answered.mean() / 300
        broken += bool(answered.any() and far[1][answered].mean() < 0.8)
    assert broken / 300 <= 0.1
    assert coverage > 0.3  # and not by answering nothing


def test_where_confidence_says_nothing_nothing_is_answered():
    rng = np.random.default_rng(1)
    found = threshold_for(rng.random(400), rng.random(400) < 0.4, precision=0.8)
    assert found.value == math.inf
    assert found.answered == 0
    assert threshold_for([], [], precision=0.8).value == math.inf


def test_all_are_answered_where_all_are_right():
    found = threshold_for(np.linspace(0, 1, 100), np.ones(100), precision=0.9)
    assert found == (0.0, 100, 0, pytest.approx(error_bound(0, 100, 0.995)))


@pytest.mark.parametrize(("precision", "assurance"), [(0.0, 0.9), (1.0, 0.9), (0.9, 1.0)])
def test_what_is_no_chance_is_refused(precision, assurance):
    with pytest.raises(ConfigError, match="must lie between 0 and 1"):
        threshold_for([0.5], [1], precision, assurance)
