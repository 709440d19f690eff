"""The world's truth: rates as asked for, chains of probabilities, what its knobs do, and that a seed fixes all."""

import numpy as np
import pytest

from funneltune.errors import ConfigError
from funneltune.marketplace import Mixture, World, arrivals, simulate
from funneltune.marketplace.outcomes import purchase_delay

SMALL = {"items": 400, "queries": 80, "shoppers": 200, "page": 10, "days": 30}


def log(impressions=20_000, **knobs):
    parts = list(simulate(World(**{"seed": 0, **SMALL, **knobs}), Mixture(), impressions))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def default():
    return log(40_000)


def test_the_rates_are_those_asked_for_and_the_outcomes_follow_the_stored_truth(default):
    n = len(default["click"])
    assert default["oracle_p_click"].mean() == pytest.approx(0.06, abs=0.01)
    assert default["click"].mean() == pytest.approx(default["oracle_p_click"].mean(), abs=4 * np.sqrt(0.06 / n))
    clicked = default["click"] == 1
    truth = default["oracle_p_purchase_given_click"][clicked]
    assert truth.mean() == pytest.approx(0.08, abs=0.03)
    assert default["purchase"][clicked].mean() == pytest.approx(truth.mean(), abs=4 * np.sqrt(0.1 / clicked.sum()))


def test_clicks_are_likelier_where_the_truth_says_so(default):
    likely = default["oracle_p_click"] > np.quantile(default["oracle_p_click"], 0.9)
    expected = default["oracle_p_click"][likely].mean()
    assert default["click"][likely].mean() == pytest.approx(expected, rel=0.15)


def test_every_purchase_has_a_cart_and_every_cart_a_click(default):
    assert (default["purchase"] <= default["cart"]).all()
    assert (default["cart"] <= default["click"]).all()
    product = default["oracle_p_cart_given_click"] * default["oracle_p_purchase_given_cart"]
    np.testing.assert_allclose(default["oracle_p_purchase_given_click"], product, rtol=1e-5)


def test_a_position_is_looked_at_with_its_rank_to_the_minus_decay():
    found = log(2_000, position_decay=0.5)
    np.testing.assert_allclose(found["propensity"], (found["position"] + 1.0) ** -0.5, rtol=1e-5)
    assert (found["oracle_p_click"] <= found["propensity"]).all()


def test_a_cascade_clicks_once_a_page_at_most():
    found = log(10_000, click_model="cascade")
    clicks = np.bincount(found["request"], weights=found["click"])
    assert clicks.max() == 1
    assert found["click"].mean() == pytest.approx(found["oracle_p_click"].mean(), rel=0.15)


def test_selection_bias_moves_conversions_and_leaves_clicks_alone():
    without, strong = log(50, selection_bias=0.0), log(50, selection_bias=2.0)  # the first pages: nothing spent yet
    page = without["request"] == 0
    np.testing.assert_allclose(strong["oracle_p_click"][page], without["oracle_p_click"][page], rtol=1e-5)
    changed = strong["oracle_p_purchase_given_click"][page] - without["oracle_p_purchase_given_click"][page]
    assert np.abs(changed).max() > 1e-3


def test_one_seed_one_log():
    first, again, other = log(2_000), log(2_000), log(2_000, seed=1)
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)
    assert (first["item"] != other["item"]).any()


def test_whole_requests_in_time_order():
    found = log(1_005)
    assert len(found["request"]) == 1_010  # rounded up to whole pages of ten
    assert (np.bincount(found["request"]) == 10).all()
    assert (np.diff(found["time"]) >= 0).all()
    pages = found["item"].reshape(-1, 10)
    assert all(len(set(page)) == 10 for page in pages)  # no item twice on one page


def test_a_step_takes_what_was_bought_from_the_shelves_and_leaves_the_old_state_alone():
    world = World(seed=0, **SMALL, ctr=0.4, cvr=0.4)
    state = world.initial_state()
    before = state.stock.copy()
    request = arrivals(world, 200)
    ranking = Mixture().rank(world, request)
    prices = world.prices(ranking, request.day)
    outcome, after = world.step(state, request, ranking, prices)
    bought = np.bincount(ranking[outcome.purchase == 1], minlength=SMALL["items"])
    assert bought.sum() > 50
    np.testing.assert_array_equal(state.stock, before)
    np.testing.assert_array_equal(after.stock, np.maximum(before - bought, 0))
    assert after.spent.sum() == pytest.approx(prices[outcome.purchase == 1].sum(), rel=1e-4)


def test_dearer_items_are_bought_less():
    world = World(seed=0, **SMALL)
    request = arrivals(world, 300)
    ranking = Mixture().rank(world, request)
    prices = world.prices(ranking, request.day)
    listed, _ = world.step(world.initial_state(), request, ranking, prices)
    dearer, _ = world.step(world.initial_state(), request, ranking, 1.5 * prices)
    assert dearer.p_purchase_given_click.mean() < 0.95 * listed.p_purchase_given_click.mean()


LATE = {"ctr": 0.4, "cvr": 0.4, "purchase_delay": 4.0, "purchase_window": 10.0}


def test_delays_leave_everything_else_as_it_was():
    at_once, late = log(3_000, ctr=0.4, cvr=0.4), log(3_000, **LATE)
    assert set(late) - set(at_once) == {"delay_purchase"}
    for name, values in at_once.items():
        np.testing.assert_array_equal(values, late[name], err_msg=name)


def test_delays_are_exponential_cut_off_at_the_window():
    found = log(40_000, **LATE)
    bought = found["purchase"] == 1
    delay = found["delay_purchase"]
    assert (delay[~bought] == 0).all()
    assert delay[bought].min() > 0
    assert delay[bought].max() <= 10.0
    expected = 4 - 10 / np.expm1(10 / 4)  # of an exponential of mean 4 cut off at 10 days
    assert delay[bought].mean() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("price", [0.0, 1.0])
def test_a_delay_follows_its_law_and_what_is_dear_takes_longer(price):
    class Scene:
        pass

    Scene.price = np.full((1, 1), price, np.float32)
    found = purchase_delay(Scene, 4.0, 10.0, np.array([[0.25]]))
    mean = 4 * np.exp(0.6 * price)  # F(d) = (1 - exp(-d / mean)) / (1 - exp(-10 / mean)) = u
    assert np.expm1(-found / mean) / np.expm1(-10 / mean) == pytest.approx(0.25, rel=1e-5)


def test_the_heavier_tastes_weigh_the_more_a_shift_of_tastes_moves_clicks():
    def moved(weight):
        shifted, kept = (log(taste_weight=weight, taste_shift=shift) for shift in (1.0, 0.0))
        return np.abs(shifted["oracle_p_click"] - kept["oracle_p_click"])[len(kept["click"]) // 2 :].mean()

    assert 2 * moved(1.0) < moved(4.0)


@pytest.mark.parametrize(
    ("knobs", "field"),
    [
        ({"page": 300}, "page=300"),
        ({"ctr": 0.0}, "ctr=0.0"),
        ({"taste_shift": 1.5}, "taste_shift=1.5"),
        ({"click_model": "dbn"}, "click_model='dbn'"),
        ({"items": 0}, "items=0"),
        ({"purchase_delay": -1.0}, "purchase_delay=-1.0"),
        ({"purchase_window": 0.0}, "purchase_window=0.0"),
        ({"taste_weight": -1.0}, "taste_weight=-1.0"),
    ],
)
def test_a_knob_out_of_range_is_named(knobs, field):
    with pytest.raises(ConfigError, match=field):
        World(**{"seed": 0, **SMALL, **knobs})
