"""Demand curves, elasticities, support, best prices and causes, against what is known."""

import sys

import numpy as np
import pytest

from funneltune.decisions.pricing import (
    LoggedPrices,
    Rows,
    Settings,
    arc_elasticity,
    best,
    double_ml,
    elasticity,
    naive,
)
from funneltune.decisions.pricing.causal import CellRegression, told
from funneltune.decisions.pricing.curve import means, resampled
from funneltune.decisions.pricing.optimum import value_at
from funneltune.errors import ConfigError, RunError
from funneltune.marketplace import world_requests
from funneltune.marketplace.elasticities import true_elasticity

GRID = np.linspace(0.7, 1.3, 13)
PAGE = 20


def world_log(**knobs):
    source = {"_target_": "funneltune.data.Simulated", "seed": 1, "impressions": 60_000, "items": 300, "queries": 60}
    source |= {"shoppers": 400, "page": PAGE, "ctr": 0.2, "cvr": 0.3, **knobs}
    found = world_requests(source)
    catalogue, outcome = found.world.catalogue, found.outcomes(found.shown, found.prices)
    item = found.shown.ravel()
    rows = Rows(
        item=item,
        request=np.repeat(found.request.number, PAGE),
        price=found.prices.ravel().astype(float),
        week=np.repeat((found.request.day // 7).astype(int), PAGE),
        like=found.world.vocabulary.type_group[catalogue.type[item]].astype(np.int64),
        sold={"click": outcome.click.ravel().astype(float), "purchase": outcome.purchase.ravel().astype(float)},
        position=np.tile(np.arange(PAGE, dtype=float), len(found)),
    )
    return rows, true_elasticity(found)


def covers(estimate, truth):
    return estimate.low < truth < estimate.high


# --- causes --------------------------------------------------------------------------------------------------------


def test_double_ml_covers_the_true_elasticity_of_a_confounded_log_and_the_naive_one_is_biased_upwards():
    rows, truth = world_log(price_confounding=1.0, price_spread=0.1)
    causal, plain = double_ml(rows), naive(rows)
    for name in ("click", "purchase"):
        true, wrong = getattr(truth, name), getattr(plain, name)
        assert covers(getattr(causal, name), true)
        assert wrong.low > true + 0.5
    assert plain.purchase.value > 0 > causal.purchase.high  # as if dearer things sold better
    assert causal.purchase.error < 0.25


@pytest.mark.slow
def test_over_ten_worlds_double_ml_covers_as_often_as_it_says():
    covered = []
    for seed in range(10):
        rows, truth = world_log(price_confounding=1.0, price_spread=0.1, seed=seed, impressions=40_000)
        found = double_ml(rows)
        covered += [covers(found.click, truth.click), covers(found.purchase, truth.purchase)]
    assert sum(covered) >= 17


def test_without_confounding_both_cover_it():
    rows, truth = world_log(price_spread=0.15)
    for found in (double_ml(rows), naive(rows)):
        assert covers(found.purchase, truth.purchase)
        assert covers(found.click, truth.click)


def test_what_sellers_alone_know_is_not_mended():
    rows, truth = world_log(price_confounding=1.0, price_hidden=0.5, price_spread=0.1)
    causal, plain = double_ml(rows).purchase, naive(rows).purchase
    assert causal.low > truth.purchase  # still biased, though less
    assert truth.purchase < causal.value < plain.value


def made_up(effect, rng, rows=4000, move=0.1):
    """Rows of which everything is known: a cell's level moves price and sales."""
    item, week = rng.integers(0, 20, rows), rng.integers(0, 8, rows)
    level = rng.normal(size=(4, 8))[item % 4, week]
    log_price = 0.2 * level + move * rng.normal(size=(20, 8))[item, week]
    sold = 2.0 + level + effect * log_price + 0.1 * rng.normal(size=rows)
    return Rows(item, np.arange(rows), np.exp(log_price), week, item % 4, {"click": sold, "purchase": sold}, item * 0.0)


def test_double_ml_finds_the_slope_of_a_linear_log_over_its_mean():
    rows = made_up(-1.5, np.random.default_rng(0))
    mean = rows.sold["click"].mean()
    found = double_ml(rows).click
    assert found.value * mean == pytest.approx(-1.5, abs=0.1)
    assert covers(found, -1.5 / mean)
    assert naive(rows).click.value > 0


def test_it_is_the_same_for_any_order_of_rows():
    rows = made_up(-1.5, np.random.default_rng(1))
    one = double_ml(rows).click
    order = np.random.default_rng(2).permutation(len(rows.item))
    other = double_ml(
        Rows(*(value[order] for value in rows[:5]), {k: v[order] for k, v in rows.sold.items()}, rows.position[order])
    ).click
    assert other.value == pytest.approx(one.value, abs=0.02)
    assert other.error == pytest.approx(one.error, rel=0.1)


def test_cell_regression_is_least_squares_with_a_dummy_per_cell():
    rng = np.random.default_rng(0)
    cell, x, y = rng.integers(0, 6, 200), rng.normal(size=(200, 2)), rng.normal(size=200)
    controls = np.column_stack([cell, x, np.arange(200)])
    dummies = np.column_stack([np.eye(6)[cell], x])
    expected = dummies @ np.linalg.lstsq(dummies, y, rcond=None)[0]
    fitted = CellRegression().fit(controls, y)
    np.testing.assert_allclose(fitted.predict(controls), expected, atol=1e-9)
    unseen = fitted.predict(np.array([[99.0, *x.mean(axis=0), 0.0]]))
    np.testing.assert_allclose(unseen, y.mean(), atol=1e-9)


def test_sales_of_before_are_those_of_the_week_before():
    n = np.array([0, 0, 0, 0])
    rows = Rows(
        n, np.arange(4), np.ones(4), np.array([0, 0, 1, 2]), n, {"click": np.array([1.0, 1.0, 0.0, 1.0])}, n * 1.0
    )
    mean = 0.75
    expected = [mean, mean, (2 + 5 * mean) / 7, (0 + 5 * mean) / 6]
    np.testing.assert_allclose(told(rows)[:, 1], expected)


def test_prices_that_never_move_tell_nothing():
    rows = made_up(-1.0, np.random.default_rng(0))
    with pytest.raises(RunError, match="prices hardly move within a week of their like"):
        double_ml(rows._replace(price=1.0 + rows.item * 1.0))
    with pytest.raises(RunError, match="hold no purchase; nothing tells"):
        double_ml(rows._replace(sold={"click": rows.sold["click"], "purchase": np.zeros(len(rows.item))}))


def test_a_missing_package_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "econml.dml", None)
    with pytest.raises(ConfigError, match=r"pip install 'funneltune\[causal\]'"):
        double_ml(made_up(-1.0, np.random.default_rng(0)))


# --- curves --------------------------------------------------------------------------------------------------------


def test_a_constant_elasticity_is_found_at_a_point():
    np.testing.assert_allclose(elasticity(np.log(GRID), 0.1 * GRID**-2.0), -2.0)
    linear = 2.0 - GRID  # elasticity -p / (2 - p), which is -1 at 1
    np.testing.assert_allclose(elasticity(np.log(GRID), linear), -1.0, atol=0.08)
    both = elasticity(np.log(GRID), np.stack([GRID**-0.5, linear]))
    np.testing.assert_allclose(both, [-0.5, -1.0], atol=0.08)
    np.testing.assert_allclose(elasticity(np.log(GRID[:2]), GRID[:2] ** -3.0), -3.0)


def test_the_arc_elasticity_is_the_midpoint_formula():
    # from 100 at 4 to 60 at 6: (-40 / 80) / (2 / 5)
    assert arc_elasticity(np.array([4.0, 5.0, 6.0]), np.array([100.0, 80.0, 60.0])) == pytest.approx(-1.25)


def test_the_best_price_of_a_linear_demand_is_the_textbooks():
    prices = np.linspace(1, 9, 17)
    demand = 10 - prices
    everywhere = np.ones(17, bool)
    found = best(prices, (prices * demand)[None], everywhere)
    assert found.price[0] == pytest.approx(5.0)
    profit = best(prices, ((prices - 3.3) * demand)[None], everywhere)
    assert profit.price[0] == pytest.approx((10 + 3.3) / 2)
    assert profit.value[0] == pytest.approx((6.65 - 3.3) * 3.35)


def test_the_best_price_stays_within_what_is_allowed():
    prices = np.linspace(1, 9, 17)
    allowed = (prices >= 2) & (prices <= 4)
    found = best(prices, np.stack([prices * (10 - prices), -prices]), allowed)
    np.testing.assert_allclose(found.price, [4.0, 2.0])
    assert value_at(prices, prices**2, 4.0) == pytest.approx(16.0)


def test_the_bootstrap_draws_whole_shoppers():
    user = np.array([7, 7, 7, 9, 9, 4])
    weights = resampled(user, 400, 0)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert set((weights[:, 0] + weights[:, 3] + weights[:, 5]).tolist()) == {3.0}
    np.testing.assert_allclose(means(np.ones((6, 2)), weights), 1.0)
    np.testing.assert_array_equal(weights, resampled(user, 400, 0))
    assert (weights != resampled(user, 400, 1)).any()


def test_support_counts_the_items_rows_and_those_of_its_like_near_each_price():
    item = np.array([0] * 6 + [1] * 30 + [2] * 50)
    price = np.array([10.0] * 6 + [12.0] * 30 + [7.0] * 50)
    logged = LoggedPrices(item, price, np.array([0, 0, 1]))
    found = logged.near(0, 10.0 * np.array([0.7, 0.8, 0.9, 1.0, 1.1, 1.2]))
    np.testing.assert_array_equal(found.own, [0, 0, 0, 6, 0, 0])
    np.testing.assert_array_equal(found.like, [0, 0, 0, 6, 0, 30])  # the 50 rows at 7.0 are of another like
    assert found.level.tolist() == ["none", "none", "none", "item", "none", "like"]
    assert found.like_share[5] == pytest.approx(30 / 36)
    alone = LoggedPrices(item, price, None).near(0, np.array([10.0, 11.0, 12.0]))
    assert alone.level.tolist() == ["item", "none", "none"]


def test_the_grid_always_has_the_price_now():
    assert Settings().ratios.tolist() == pytest.approx(GRID.tolist())
    assert 1.0 in Settings(grid=(0.8, 0.9, 3)).ratios
