"""Experiments: sizes against simulated power, looks that keep their error, interleaving by hand and without favour."""

import math

import numpy as np
import pytest
from scipy import stats

from funneltune.errors import ConfigError
from funneltune.metrics.ab_tests import (
    always_valid,
    credit,
    detectable_effect,
    mixing_variance,
    power_at,
    sample_size,
    sign_size,
    team_draft,
    welch,
)


def test_welch_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 40), rng.normal(0.4, 2, 25)
    wanted = stats.ttest_ind(b, a, equal_var=False)
    found = welch(a, b)
    assert found.p_value == pytest.approx(wanted.pvalue)
    limits = wanted.confidence_interval()
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high))
    assert np.isnan(welch(a[:1], b).low)


def test_sizes_and_detectable_effects_are_inverse():
    n = sample_size(2.0, 3.0, 0.25, power=0.9)
    assert detectable_effect(2.0, 3.0, n, power=0.9) == pytest.approx(0.25)
    assert sample_size(1, 1, 0) == math.inf
    assert power_at(2.0, 3.0, -0.25, n) == pytest.approx(0.9, abs=1e-6)
    assert power_at(2.0, 3.0, 0.0, n) == pytest.approx(0.05)


def test_a_sign_is_right_as_often_as_asked_for():
    assert sign_size(1, 0) == math.inf
    n = sign_size(4.0, 0.5, 0.9)
    assert n == pytest.approx(1.281552**2 * 16, rel=1e-5)
    means = np.random.default_rng(0).normal(0.5, 2.0, (4000, round(n))).mean(axis=1)
    assert (means > 0).mean() == pytest.approx(0.9, abs=0.02)
    with pytest.raises(ConfigError, match="chance=0.5 must lie between 0.5 and 1"):
        sign_size(1, 1, 0.5)


@pytest.mark.parametrize("power", [0.5, 0.8])
def test_simulated_experiments_of_that_size_have_that_power(power):
    rng = np.random.default_rng(1)
    n = round(sample_size(1.0, 1.5, 0.3, power=power))
    found = sum(welch(rng.normal(0, 1.0, n), rng.normal(0.3, 1.5, n)).p_value < 0.05 for _ in range(600))
    assert found / 600 == pytest.approx(power, abs=3 * math.sqrt(power * (1 - power) / 600))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: sample_size(1, 1, 1, power=1.0), "power=1 must lie between 0 and 1"),
        (lambda: sample_size(1, 1, 1, level=0.0), "level=0 must lie"),
        (lambda: detectable_effect(1, 1, 0), "n=0 must be > 0"),
    ],
)
def test_what_is_no_design_is_refused(call, told):
    with pytest.raises(ConfigError, match=told):
        call()


def looked(rng, effect, looks=20, per_look=50):
    """Per look: the running difference of two arms and its variance."""
    n = looks * per_look
    a, b = rng.normal(0, 1, n), rng.normal(effect, 1, n)
    counts = np.arange(per_look, n + 1, per_look)
    return (np.cumsum(b)[counts - 1] - np.cumsum(a)[counts - 1]) / counts, 2 / counts


def test_without_an_effect_looking_often_fools_the_fixed_test_and_not_the_always_valid_one():
    rng, fixed, valid = np.random.default_rng(2), 0, 0
    for _ in range(400):
        d, v = looked(rng, 0.0)
        fixed += bool((np.abs(d) / np.sqrt(v) > 1.96).any())
        mixing = mixing_variance(v[-1])
        valid += min(always_valid(*one, mixing).p_value for one in zip(d, v, strict=True)) < 0.05
    assert fixed / 400 > 0.15
    assert valid / 400 <= 0.05


def test_with_an_effect_the_always_valid_test_finds_it_and_covers_it():
    rng, hits, covered = np.random.default_rng(3), 0, 0
    for _ in range(100):
        d, v = looked(rng, 0.2)
        at = [always_valid(*one, mixing_variance(v[-1])) for one in zip(d, v, strict=True)]
        hits += min(one.p_value for one in at) < 0.05
        covered += max(one.low for one in at) <= 0.2 <= min(one.high for one in at)
    assert hits >= 80
    assert covered >= 95


def test_the_interval_excludes_nothing_just_where_the_p_value_is_below_its_level():
    for d in (0.05, 0.2, 0.259, 0.26, 0.5):
        found = always_valid(d, 0.004, 0.03)
        assert (found.low > 0) == (found.p_value < 0.05)
    assert always_valid(float("nan"), 0.0, 1.0) == (1.0, -math.inf, math.inf)


def test_mixing_is_near_the_shortest_interval():
    def reach(mixing):
        return always_valid(0.0, 0.01, mixing).high

    best = min(reach(m) for m in np.geomspace(1e-4, 10, 400))
    assert reach(mixing_variance(0.01)) == pytest.approx(best, rel=0.01)


def test_a_team_draft_by_hand():
    a, b = np.array([[1, 2, 3, 4]]), np.array([[2, 1, 5, 6]])
    page, team = team_draft(a, b, np.array([[False, True, False, False]]))
    # a picks 1, b picks 2; then b picks 5 (1 is there), a picks 3 (2 is there)
    assert page.tolist() == [[1, 2, 5, 3]]
    assert team.tolist() == [[False, True, True, False]]
    assert credit(np.array([[1.0, 0.0, 1.0, 1.0]]), team).tolist() == [-1.0]


def test_pages_hold_each_item_once_in_the_order_of_its_ranking_and_as_many_of_each():
    rng = np.random.default_rng(4)
    a, b = (np.stack([rng.permutation(12)[:7] for _ in range(200)]) for _ in range(2))
    page, team = team_draft(a, b, rng.random((200, 7)) < 0.5)
    for row in range(200):
        assert len(set(page[row])) == 7
        assert abs(team[row].sum() - 3.5) <= 0.5
        for side, ranking in ((False, a), (True, b)):
            at = [ranking[row].tolist().index(item) for item in page[row][team[row] == side]]
            assert at == sorted(at)


def test_equal_rankings_give_the_same_page_and_clicks_favour_neither():
    rng = np.random.default_rng(5)
    a = np.stack([rng.permutation(20)[:10] for _ in range(4000)])
    page, team = team_draft(a, a, rng.random(a.shape) < 0.5)
    assert (page == a).all()
    clicks = (rng.random(a.shape) < 0.5 / np.arange(1, 11)).astype(float)  # the top is clicked most
    found = credit(clicks, team)
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(len(found))
