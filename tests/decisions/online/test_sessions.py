"""Rules over whole sessions: what each ranks by, what a learner sees, and that all play the same sessions."""

from itertools import pairwise

import numpy as np
import pytest

from funneltune.decisions.online.sessions import GOALS, RULES, compare_sessions, play, scores, state_features
from funneltune.errors import ConfigError
from funneltune.marketplace import SessionWorld

K = 4


@pytest.fixture(scope="module")
def world(shop):
    return SessionWorld(shop.world, pages=4)


@pytest.fixture(scope="module")
def met(shop):
    arrivals = shop.arrivals(shop.requests(60, 3))
    brand = np.unique(shop.world.items["brand"], return_inverse=True)[1][arrivals.items]
    return arrivals, brand


def always(rule):
    return lambda state, page: np.full(len(state), RULES.index(rule))


def test_each_rule_orders_by_what_its_name_says(met):
    arrivals, brand = met
    found = scores(arrivals, brand, np.random.default_rng(0))
    assert tuple(found) == RULES
    np.testing.assert_allclose(found["revenue"], found["ctcvr"] * arrivals.prices)
    first = found["ctcvr"].argmax(1)
    np.testing.assert_array_equal(found["diverse"].argmax(1), first)  # the best item has no brand before it
    for row in range(5):
        for number in np.unique(brand[row]):
            own = np.sort((found["diverse"][row] / found["ctcvr"][row])[brand[row] == number])[::-1]
            np.testing.assert_allclose(own, 0.7 ** np.arange(len(own)))


def test_a_learner_sees_the_living_their_purchases_and_who_goes_on(world, met):
    arrivals, brand = met
    total, by_goal = play(world, arrivals, brand, K, always("ctcvr"), seed=0)
    steps, paid = by_goal["purchases"], by_goal["revenue"]
    assert len(steps) == 4
    assert len(steps[0].state) == 60
    for one, after in pairwise(steps):
        assert one.goes_on.sum() == len(after.state)
        np.testing.assert_allclose(one.after[one.goes_on], after.state)
    assert not steps[-1].goes_on.any()
    for one, other in zip(steps, paid, strict=True):
        np.testing.assert_array_equal(one.reward > 0, other.reward > 0)
    assert total["pages"].sum() == sum(len(one.state) for one in steps)


def test_what_is_left_promises_less_page_by_page(world, met):
    arrivals, brand = met
    by_rule = scores(arrivals, brand, np.random.default_rng(0))
    begun = world.begin(arrivals.request, arrivals.items.shape[1])
    places = np.argsort(-by_rule["ctcvr"], axis=1)[:, :K]
    _, after = world.step(begun, arrivals.items, arrivals.prices, places)
    assert (state_features(after, by_rule, K)[:, 6] < state_features(begun, by_rule, K)[:, 6]).all()


def test_policies_play_the_same_sessions_and_a_seed_fixes_all(shop, world):
    plan = {"sessions": 40, "seeds": (0, 1), "page": K, "passes": 2}
    found, again = (compare_sessions(shop, world, **plan) for _ in range(2))
    assert set(found) == {*RULES, "any rule", *(f"learned for {goal}" for goal in GOALS)}
    for name, of in found.items():
        for measure, values in of.items():
            assert values.shape == (2,)
            np.testing.assert_array_equal(values, again[name][measure])
    assert (found["explore"]["purchases"] != found["ctcvr"]["purchases"]).all()


def test_too_few_candidates_or_sessions_are_told(shop, met):
    arrivals, brand = met
    with pytest.raises(ConfigError, match="candidates=40 must be >= 60: 6 pages of 10"):
        play(SessionWorld(shop.world), arrivals, brand, 10, always("ctr"), seed=0)
    with pytest.raises(ConfigError, match="sessions=1 must be >= 2"):
        compare_sessions(shop, SessionWorld(shop.world), sessions=1, seeds=(0,), page=4)
