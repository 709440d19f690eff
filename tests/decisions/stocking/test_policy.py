"""The newsvendor's quantile and the (R, S) policy: days worked by hand, and the least cost found by trying."""

import numpy as np
import pytest

from funneltune.decisions.stocking import Terms, quantile, replay, targets


def terms(review=2, lead_time=1, holding=1.0, shortage=3.0, level=None, items=1):
    return Terms(review, lead_time, np.full(items, holding), np.full(items, shortage), level)


def test_the_critical_ratio_is_the_shortage_over_both():
    assert terms(review=2, holding=0.5, shortage=3.0).ratio.tolist() == [0.75]
    assert terms(level=0.95).ratio.tolist() == [0.95]
    assert terms(review=4, lead_time=3).protected == 7


def test_days_go_as_worked_by_hand():
    # on hand 2; wanted 1, 2, 1, 0, 3. Reviewed on days 0 and 2 and 4 up to 4; an order takes one day.
    demand = np.array([[[1.0, 2.0, 1.0, 0.0, 3.0]]])
    found = replay(demand, {day: np.array([4.0]) for day in (0, 2)}, terms(), np.array([2.0]), np.zeros(1))
    # day 0: order 2, sell 1, 1 left. day 1: 2 arrive, 3 there, sell 2, 1 left. day 2: order 3, sell 1, 0 left.
    # day 3: 3 arrive, sell 0, 3 left. day 4: sell 3, 0 left. Day 0 is not judged.
    assert (found.sold[0], found.lost[0], found.held[0]) == (6.0, 0.0, 1 + 0 + 3 + 0)
    assert found.ordered[0] == 5.0
    assert found.days == 4
    assert found.cost(terms())[0] == pytest.approx(4 / 4)


def test_what_is_not_there_is_lost_and_what_is_on_order_counts():
    demand = np.array([[[5.0, 5.0]]])
    found = replay(demand, {0: np.array([3.0])}, terms(), np.zeros(1), np.array([2.0]))
    assert found.ordered[0] == 1.0  # 2 are on their way
    assert (found.sold[0], found.lost[0]) == (3.0, 2.0)
    at_once = replay(demand, {0: np.array([7.0])}, terms(lead_time=0), np.zeros(1), np.zeros(1))
    assert (at_once.sold[0], at_once.lost[0], at_once.days) == (7.0, 3.0, 2)


def test_orders_that_come_too_late_are_not_made():
    assert list(targets(10, terms(review=3, lead_time=4), lambda day: np.zeros(1))) == [0, 3]


def test_the_quantile_at_the_critical_ratio_costs_least():
    rng = np.random.default_rng(0)
    demand = rng.poisson(5.0, (40_000, 1, 1)).astype(float)
    of = terms(review=1, lead_time=0, holding=1.0, shortage=4.0)
    costs = [replay(demand, {0: np.array([float(s)])}, of, np.zeros(1), np.zeros(1)).cost(of)[0] for s in range(15)]
    assert int(np.argmin(costs)) == quantile(of.ratio, np.array([5.0]), np.array([5.0]))[0]
