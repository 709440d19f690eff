"""Sessions: who leaves when, no item twice, budgets used up, and the truth of each page."""

from dataclasses import replace

import numpy as np
import pytest

from funneltune.errors import ConfigError
from funneltune.marketplace import SessionWorld, World, arrivals

N, C, K = 400, 24, 4


@pytest.fixture(scope="module")
def world():
    return World(seed=0, items=300, queries=60, shoppers=80, page=5, days=30, ctr=0.3, cvr=0.4)


@pytest.fixture(scope="module")
def met(world):
    request = arrivals(world, N, first=2**20)
    rng = np.random.default_rng(0)
    items = np.stack([rng.permutation(300)[:C] for _ in range(N)])
    return request, items, world.prices(items, request.day)


def page(number):
    return np.tile(np.arange(number * K, (number + 1) * K), (N, 1))


def through(shop, met, pages):
    request, items, prices = met
    sessions, steps = shop.begin(request, C), []
    for number in range(pages):
        shown, after = shop.step(sessions, items, prices, page(number))
        steps.append((sessions, shown, after))
        sessions = after
    return steps


def test_who_has_left_is_shown_nothing_and_never_comes_back(world, met):
    for before, shown, after in through(SessionWorld(world, pages=5), met, 5):
        assert (shown.purchases[~before.alive] == 0).all()
        assert (shown.purchases[before.alive] > 0).all()
        assert not (after.alive & ~before.alive).any()
    assert not after.alive.any()  # the last page ends it


def test_pages_without_a_click_drive_shoppers_away_and_purchases_end_sessions(world, met):
    shop = SessionWorld(world, pages=5, leave=0.0, impatience=0.6, satisfied=1.0)
    (_, shown, after), (_, _, later) = through(shop, met, 2)
    assert not after.alive[shown.bought > 0].any()
    clicked = (after.clicks > 0) & (shown.bought == 0)
    assert after.alive[clicked].all()
    dry = after.dry == 1
    assert after.alive[dry].mean() == pytest.approx(0.4, abs=0.08)
    twice = after.alive & (after.dry == 1) & (later.dry == 2)
    assert later.alive[twice].mean() == pytest.approx(0.16, abs=0.12)


def test_no_item_is_shown_twice(world, met):
    request, items, prices = met
    shop = SessionWorld(world)
    _, after = shop.step(shop.begin(request, C), items, prices, page(0))
    with pytest.raises(ConfigError, match="an item was on an earlier page"):
        shop.step(after, items, prices, page(0))


def test_money_spent_in_a_session_makes_its_later_pages_sell_less(world, met):
    request, items, prices = met
    shop = SessionWorld(world)
    rich = shop.begin(request, C)
    poor = replace(rich, spent=np.full(N, 1e6))
    sold = [shop.step(sessions, items, prices, page(0))[0].purchases for sessions in (rich, poor)]
    assert (sold[1] < sold[0]).all()
    alone = replace(rich, spent=np.where(np.arange(N) == 0, 1e6, 0.0))
    found = shop.step(alone, items, prices, page(0))[0].purchases
    assert found[0] == pytest.approx(sold[1][0])
    np.testing.assert_allclose(found[1:], sold[0][1:])  # another session of the same shopper has its own purse


def test_the_first_page_is_the_worlds_own_truth(world, met):
    request, items, prices = met
    shop = SessionWorld(world)
    shown, _ = shop.step(shop.begin(request, C), items, prices, page(0))
    own = replace(request, number=request.number * 64)
    outcome, _ = world.step(world.initial_state(), own, items[:, :K], prices[:, :K])
    np.testing.assert_allclose(shown.purchases, (outcome.p_click * outcome.p_purchase_given_click).sum(1), rtol=1e-5)
    np.testing.assert_array_equal(shown.bought, outcome.purchase.sum(1))


@pytest.mark.parametrize(
    ("wrong", "told"), [({"pages": 0}, "pages=0"), ({"pages": 65}, "pages=65"), ({"leave": 1.5}, "leave=1.5")]
)
def test_what_is_no_session_is_refused(world, wrong, told):
    with pytest.raises(ConfigError, match=told):
        SessionWorld(world, **wrong)
