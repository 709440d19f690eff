"""What shoppers got: utilities that move as the world's do, requests given up, sessions by hand."""

from dataclasses import replace

import numpy as np
import pytest

from funneltune.errors import ConfigError
from funneltune.marketplace import Mixture, Requests, World, arrivals
from funneltune.marketplace.satisfaction import expected, satisfaction, sessions, utility


@pytest.fixture(scope="module")
def world():
    return World(items=300, queries=80, shoppers=60, page=8, ctr=0.2, cvr=0.3)


@pytest.fixture(scope="module")
def shown(world):
    request = arrivals(world, 400)
    ranking = Mixture().rank(world, request)
    prices = world.prices(ranking, request.day)
    outcome, _ = world.step(world.initial_state(), request, ranking, prices)
    return request, ranking, prices, outcome


def test_dear_and_sold_out_items_are_worth_less(world, shown):
    request, ranking, prices, _ = shown
    state = world.initial_state()
    worth = utility(world, state, request, ranking, prices)
    assert (utility(world, state, request, ranking, 2 * prices) < worth).all()
    empty = utility(world, replace(state, stock=np.zeros_like(state.stock)), request, ranking, prices)
    np.testing.assert_allclose(worth - empty, 4.0, atol=1e-5)


def test_what_is_worth_more_is_bought_more(world, shown):
    request, ranking, prices, outcome = shown
    worth = utility(world, world.initial_state(), request, ranking, prices)
    good = worth > np.median(worth)
    assert outcome.p_purchase_given_click[good].mean() > 2 * outcome.p_purchase_given_click[~good].mean()


def test_what_was_drawn_averages_to_what_was_expected(world, shown):
    request, ranking, prices, outcome = shown
    worth = utility(world, world.initial_state(), request, ranking, prices)
    drawn = satisfaction(outcome.purchase.astype(float), outcome.click.astype(float), worth, request)
    true = expected(outcome, worth, request)
    assert drawn.no_click == pytest.approx(true.no_click, abs=0.07)
    assert drawn.no_purchase == pytest.approx(true.no_purchase, abs=0.07)
    assert drawn.utility == pytest.approx(true.utility, abs=0.3)
    assert drawn.abandoned_sessions >= 0


def test_values_by_hand():
    request = Requests(np.arange(3), np.array([1, 1, 2]), np.zeros(3, int), np.array([0.0, 0.5, 0.0]))
    bought = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    clicked = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    found = satisfaction(bought, clicked, np.array([[9.0, 9.0], [2.0, 9.0], [9.0, 9.0]], np.float32), request)
    assert found.utility == 2.0
    assert found.surplus == pytest.approx(2 / 3)
    assert found.no_click == pytest.approx(1 / 3)
    assert found.no_purchase == pytest.approx(2 / 3)
    assert found.abandoned_sessions == pytest.approx(1 / 2)  # shopper 1's two requests are one session, which bought


def test_where_nothing_is_bought_its_utility_is_unknown():
    request = Requests(np.arange(1), np.zeros(1, int), np.zeros(1, int), np.zeros(1))
    assert np.isnan(satisfaction(np.zeros((1, 2)), np.zeros((1, 2)), np.ones((1, 2), np.float32), request).utility)


def test_a_days_pause_ends_a_session_whatever_the_order():
    user, day = np.array([2, 1, 2, 1, 2]), np.array([5.0, 0.0, 0.2, 0.9, 1.1])
    request = Requests(np.arange(5), user, np.zeros(5, int), day)
    found = sessions(request)
    assert found[1] == found[3]
    assert found[2] == found[4] != found[0]
    assert len(set(found)) == 3
    with pytest.raises(ConfigError, match="gap=0 must be > 0"):
        sessions(request, 0)
