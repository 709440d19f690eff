"""Poisson draws of privacy units: each by itself with one chance, a function of (key, epoch, step)."""

import numpy as np
import pytest
from scipy import stats

from funneltune.data.poisson import PoissonPlan, PrivacyUnits
from funneltune.errors import ConfigError

ROWS = np.arange(100, 1100)


def plan(units=None, **changes):
    given = {"units": units or PrivacyUnits.of_impressions(ROWS), "rows_per_batch": 50, "tasks": ["click"], "key": [7]}
    return PoissonPlan(**(given | changes))


def drawn(made):
    return [draw.rows.tolist() for draw in made.draws()]


def test_a_shoppers_rows_lie_together():
    units = PrivacyUnits.of_shoppers(np.array([4, 5, 6, 7, 9]), np.array([8, 2, 8, 2, 3]))
    assert len(units) == 3
    assert [units.rows[a:b].tolist() for a, b in zip(units.starts, units.starts[1:], strict=False)] == [
        [5, 7],
        [9],
        [4, 6],
    ]
    assert units.mean_rows == pytest.approx(5 / 3)
    rows, unit = units.draw(np.array([2, 0]), np.random.default_rng(0))
    assert rows.tolist() == [4, 6, 5, 7]
    assert unit.tolist() == [0, 0, 1, 1]


def test_at_most_so_many_rows_of_a_shopper_are_drawn_each_as_often_as_another():
    units = PrivacyUnits.of_shoppers(np.arange(10), np.array([0] * 6 + [1] * 3 + [2]), most=2)
    assert units.mean_rows == pytest.approx((2 + 2 + 1) / 3)
    random = np.random.default_rng(0)
    counts = np.zeros(10)
    for _ in range(3000):
        rows, unit = units.draw(np.array([1, 0, 2]), random)
        assert np.bincount(unit).tolist() == [2, 2, 1]
        assert np.unique(rows).size == 5
        counts[rows] += 1
    np.testing.assert_allclose(counts / 3000, [1 / 3] * 6 + [2 / 3] * 3 + [1], atol=0.04)


def test_the_chance_of_a_unit_follows_from_the_rows_that_are_expected():
    made = plan(accumulate=2)
    assert made.expected_rows == 100
    assert made.sample_rate == pytest.approx(0.1)
    assert made.steps == 10
    assert len(made) == 20
    shoppers = plan(PrivacyUnits.of_shoppers(ROWS, ROWS // 4), rows_per_batch=100)
    assert shoppers.expected_units == pytest.approx(25)
    assert shoppers.sample_rate == pytest.approx(25 / len(shoppers.units))


def test_each_unit_comes_in_each_step_by_itself_with_the_same_chance():
    made = plan()
    steps = [np.concatenate([d.rows for d in plan(epoch=epoch).draws()][:20]) for epoch in range(30)]
    assert all(len(np.unique(draw.rows)) == len(draw.rows) for draw in made.draws())
    present = np.zeros((600, 1000), dtype=bool)
    for number, draw in enumerate(d for epoch in range(30) for d in plan(epoch=epoch).draws()):
        present[number, draw.rows - 100] = True
    assert len(steps) == 30
    # Of 600 steps at 0.05, a unit's count is binomial, and so is a step's: as are independent draws, and no shuffle.
    for counts, trials in ((present.sum(0), 600), (present.sum(1), 1000)):
        spread = trials * 0.05 * 0.95
        assert counts.mean() == pytest.approx(trials * 0.05, abs=4 * (spread / len(counts)) ** 0.5)
        assert counts.var() == pytest.approx(spread, rel=0.25)
    # Two units meet as often as chance has it, and one that came in a step is as likely to come in the next.
    together = (present[:, :500] & present[:, 500:]).sum()
    assert stats.binomtest(int(together), 600 * 500, 0.05**2).pvalue > 1e-3
    again = (present[:-1] & present[1:]).sum()
    assert stats.binomtest(int(again), 599 * 1000, 0.05**2).pvalue > 1e-3


def test_draws_are_a_function_of_key_epoch_and_step():
    whole = drawn(plan(accumulate=3, rows_per_batch=10))
    assert drawn(plan(accumulate=3, rows_per_batch=10)) == whole
    assert drawn(plan(accumulate=3, rows_per_batch=10, key=[8])) != whole
    assert drawn(plan(accumulate=3, rows_per_batch=10, epoch=1)) != whole
    for skip in (1, 3, 5, len(whole) - 1):
        rest = [draw.rows.tolist() for draw in plan(accumulate=3, rows_per_batch=10).draws(skip=skip)]
        assert rest == whole[skip:]


def test_a_step_of_several_batches_holds_each_unit_once():
    units = PrivacyUnits.of_shoppers(ROWS, ROWS // 4)
    batches = list(plan(units, accumulate=4, rows_per_batch=40).draws())
    for first in range(0, len(batches), 4):
        shoppers = [set((draw.rows // 4).tolist()) for draw in batches[first : first + 4]]
        assert len(set.union(*shoppers)) == sum(map(len, shoppers))


def test_denominators_are_what_is_expected_and_not_what_was_drawn():
    for draw in plan(accumulate=2, tasks=["click", "purchase"]).draws():
        assert draw.step_rows == 100
        assert draw.step_observed == {"click": 100, "purchase": 100}


def test_some_steps_hold_nothing():
    sizes = [len(draw.rows) for draw in plan(rows_per_batch=1).draws()]
    assert 0.3 < sizes.count(0) / len(sizes) < 0.44  # about 1 / e


@pytest.mark.tried("dp_sgd", "bad_input")
def test_a_step_that_would_hold_more_rows_than_there_are_is_refused():
    with pytest.raises(
        ConfigError, match=r"data.rows_per_batch=600 x trainer.accumulate_grad_batches=2 must be <= 1,000"
    ):
        plan(rows_per_batch=600, accumulate=2)
