"""How sellers set prices, what demand of the week does to logs, and the true elasticities."""

import hashlib

import numpy as np
import pytest

from funneltune.data import Simulated
from funneltune.errors import ConfigError
from funneltune.marketplace import Mixture, World, simulate, world_requests
from funneltune.marketplace.elasticities import true_demand, true_elasticity

SIZE = {"items": 150, "queries": 40, "shoppers": 30, "page": 10, "days": 30}


def source(**knobs):
    return {"_target_": "funneltune.data.Simulated", "impressions": 4000, **SIZE, "ctr": 0.2, "cvr": 0.3, **knobs}


def digest(**knobs):
    """What was drawn, to the bit; and a sum of what was computed, whose last digits are the CPU's own."""
    found, computed = hashlib.sha256(), 0.0
    for part in simulate(World(**SIZE, **knobs), Mixture(), 3000):
        for name in sorted(part):
            if part[name].dtype.kind == "f" and name != "time":
                computed += float(part[name].astype(float).sum())
            else:
                found.update(name.encode() + part[name].astype(int).tobytes())
    return found.hexdigest()[:16], pytest.approx(computed, rel=1e-6)


def moves(requests):
    """Log prices against list prices."""
    return np.log(requests.prices / requests.world.catalogue.price[requests.shown])


def test_logs_of_before_the_knobs_are_the_same():
    assert digest() == ("461c7de41b7c9e0c", 264350.98265)
    assert digest(click_model="cascade", purchase_delay=2.0, language="zh", taste_shift=0.5) == (
        "51c1d30b283cb4e1",
        916426.71379,
    )
    assert digest(seed=3, domains=("outdoor",)) == ("557116684bb8fa79", 324747.31228)
    assert not {name for name in Simulated().describe() if name.startswith("price_")}
    assert Simulated(price_spread=0.1).describe()["price_spread"] == 0.1


def test_by_default_a_tenth_of_the_items_is_15_percent_off_and_nothing_else_moves():
    found = moves(world_requests(source()))
    assert np.minimum(np.abs(found), np.abs(found - np.log(0.85))).max() < 1e-5
    assert (found < -0.1).mean() == pytest.approx(0.1, abs=0.04)


def test_random_tests_move_prices_of_an_item_and_week_together_and_move_no_demand():
    requests = world_requests(source(price_spread=0.2))
    week = np.broadcast_to((requests.request.day // 7).astype(int)[:, None], requests.shown.shape)
    of_cell = {}
    for item, at, move in zip(requests.shown.ravel(), week.ravel(), moves(requests).ravel(), strict=True):
        of_cell.setdefault((item, at), []).append(move)
    assert max(np.ptp(some) for some in of_cell.values()) < 1e-5
    assert np.std([some[0] for some in of_cell.values()]) == pytest.approx(0.2, abs=0.03)
    plain = world_requests(source())
    at_same = requests.outcomes(plain.shown, plain.prices).p_click
    np.testing.assert_allclose(at_same, plain.outcomes(plain.shown, plain.prices).p_click, atol=0.01)


def test_confounded_sellers_ask_more_where_more_is_bought_at_the_same_price():
    free, confounded = world_requests(source()), world_requests(source(price_confounding=1.0))
    at_list = confounded.world.catalogue.price[confounded.shown]
    gained = confounded.outcomes(confounded.shown, at_list).p_click - free.outcomes(free.shown, at_list).p_click
    assert np.corrcoef(moves(confounded).ravel(), gained.ravel())[0, 1] > 0.4
    assert np.abs(moves(confounded)).max() <= 0.7 + 0.17


def test_hidden_demand_is_an_items_own_and_the_rest_its_categorys():
    for hidden, shared in ((0.0, True), (1.0, False)):
        world = World(**SIZE, price_confounding=1.0, price_hidden=hidden)
        demand = world.pricing.demand(world, np.arange(150)[None], np.array([3.0]))[0]
        category = world.vocabulary.type_group[world.catalogue.type]
        first = category == category[0]
        assert (np.ptp(demand[first]) < 1e-6) == shared
        assert np.std(demand) == pytest.approx(0.5, abs=0.3)


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"price_confounding": -1.0}, r"data.source.price_confounding=-1.0 must lie in \[0.0, 5.0\]"),
        ({"price_hidden": 1.5}, r"data.source.price_hidden=1.5 must lie in \[0.0, 1.0\]"),
        ({"price_spread": 0.9}, r"data.source.price_spread=0.9 must lie in \[0.0, 0.5\]"),
    ],
)
def test_knobs_out_of_range_are_refused(knobs, told):
    with pytest.raises(ConfigError, match=told):
        World(**SIZE, **knobs)


@pytest.mark.parametrize("model", ["position", "cascade"])
def test_true_demand_changes_one_place_of_a_page_and_is_the_log_at_its_prices(model):
    requests = world_requests(source(click_model=model, ctr=0.05)).among(np.arange(20))
    place = np.full(20, 2)
    item = int(requests.shown[0, 2])
    found = true_demand(requests.among(np.array([0])), item, place[:1], np.array([1.0, 0.5]) * requests.prices[0, 2])
    outcome = requests.outcomes(requests.shown, requests.prices)
    assert found.click[0, 0] == pytest.approx(outcome.p_click[0, 2], rel=1e-6)
    assert found.purchase[0, 0] == pytest.approx((outcome.p_click * outcome.p_purchase_given_click)[0, 2], rel=1e-6)
    assert (found.purchase[:, 1] > found.purchase[:, 0]).all()


@pytest.mark.parametrize("model", ["position", "cascade"])
def test_the_true_elasticity_is_the_sum_of_own_price_derivatives(model):
    requests = world_requests(source(click_model=model, ctr=0.05)).among(np.arange(5))
    up = down = 0.0
    for row in range(5):
        one = requests.among(np.array([row]))
        for place in range(10):
            prices = float(one.prices[0, place]) * np.exp([0.01, -0.01])
            bought = true_demand(one, int(one.shown[0, place]), np.array([place]), prices).purchase[0]
            up, down = up + bought[0], down + bought[1]
    assert true_elasticity(requests).purchase == pytest.approx(np.log(up / down) / 0.02, rel=2e-3)
    assert true_elasticity(requests).purchase < true_elasticity(requests).click < 0
