"""Policies in the marketplace: the static one stands still, the shift costs it, learners follow, all measured alike."""

from dataclasses import replace

import numpy as np
import pytest

from funneltune.decisions.online import (
    AtRandom,
    Incremental,
    LastLayer,
    Market,
    Page,
    Shop,
    Static,
    compare,
    policies_of,
)
from funneltune.decisions.online.measures import moving, recovered, recovery
from funneltune.decisions.online.record import measured
from funneltune.decisions.online.stream import best_places
from funneltune.errors import ConfigError
from funneltune.marketplace import Mixture, World, arrivals

K = 5


@pytest.fixture(scope="module")
def block(shop):
    return shop.arrivals(shop.requests(40, 7))


def shown(shop, block, policy):
    market, places = Market(shop.world, K), policy.places(block, K)
    return Page(places, market.show(block, places)[0], shop.seen(K))


def last_layer(shop, **more):
    return LastLayer(width=2 + shop.coordinates.shape[1], **more)


def test_candidates_are_distinct_on_sale_and_scored_as_the_run_scores_them(shop, block):
    assert all(len(set(row)) == 40 for row in block.items)
    assert (shop.world.catalogue.launched[block.items] <= block.request.day[:, None]).all()
    asked = shop.asked(block.request, block.prices)
    found = shop.scorer.score(asked, list(block.items))
    np.testing.assert_allclose(block.value, [of["ctcvr"] for of in found], rtol=1e-4)


def test_the_static_policy_ranks_by_the_run_and_learns_nothing(shop, block):
    policy = Static()
    before = policy.places(block, K)
    policy.learn(block, shown(shop, block, policy))
    np.testing.assert_array_equal(policy.places(block, K), before)
    np.testing.assert_array_equal(before, best_places(block.value, K))


def test_before_it_has_learnt_a_greedy_last_layer_is_the_run(shop, block):
    np.testing.assert_array_equal(last_layer(shop, exploration="none").places(block, K), Static().places(block, K))


def test_a_last_layer_learns_what_is_clicked_and_bought(shop, block):
    policy = last_layer(shop, exploration="none")
    page = shown(shop, block, policy)
    policy.learn(block, page)
    assert all(np.abs(model.mean[2:]).max() > 0 for model in policy.models.values())
    nothing = last_layer(shop, exploration="none", half_life=100.0)
    empty = replace(page.outcome, click=np.zeros_like(page.outcome.click))
    nothing.learn(block, replace(page, outcome=empty))
    assert (nothing.models["purchase"].mean[2:] == 0).all()
    assert np.abs(nothing.models["click"].mean[2:]).max() > 0


def test_thompson_draws_and_epsilon_lets_strangers_in_yet_no_item_stands_twice(shop, block):
    greedy = last_layer(shop, exploration="none").places(block, K)
    for policy in (last_layer(shop, exploration="thompson"), last_layer(shop, exploration="epsilon", epsilon=0.5)):
        places = policy.places(block, K)
        assert (places != greedy).any()
        assert all(len(set(row)) == K for row in places)
    same = last_layer(shop, exploration="epsilon", epsilon=0.0).places(block, K)
    np.testing.assert_array_equal(same, greedy)
    assert all(len(set(row)) == K for row in AtRandom(0).places(block, K))


def test_shelves_follow_what_a_policy_sold(shop, block):
    market = Market(shop.world, K)
    before = market.state.stock.sum()
    outcome, gained = market.show(block, Static().places(block, K))
    assert market.state.stock.sum() < before
    np.testing.assert_allclose(gained.purchases, (outcome.p_click * outcome.p_purchase_given_click).sum(1), rtol=1e-5)
    assert ((gained.empty > 0) & (gained.empty < 1)).all()


def test_incremental_begins_as_the_run_and_moves_the_tuned_weights_alone(online_run, shop, block):
    policy = Incremental(online_run, shop, steps=2, requests=10, seed=0)
    np.testing.assert_array_equal(policy.places(block, K), Static().places(block, K))
    policy._moved = True  # scored by the module itself
    np.testing.assert_allclose(policy.values(block), block.value, rtol=1e-3)
    before = {name: p.detach().clone() for name, p in policy.module.named_parameters()}
    policy.learn(block, shown(shop, block, Static()))
    moved = {name for name, p in policy.module.named_parameters() if not p.equal(before[name])}
    assert moved
    assert moved <= set(policy.tuned)
    assert any("lora" in name for name in moved)
    assert len(policy.tuned) < len(before)
    assert np.abs(policy.values(block) - block.value).max() > 1e-6
    assert len(policy.seconds) == 1
    policy.begin(0)
    np.testing.assert_array_equal(policy.values(block), block.value)


def test_the_loss_of_what_is_learnt_falls(online_run, shop, block):
    policy = Incremental(online_run, shop, rate=2.0, steps=12, requests=40, replay=0.0, seed=0)
    page = shown(shop, block, Static())

    def loss():
        policy._held = [(block, page)]
        policy.module.eval()
        return float(policy._loss(policy._new_rows()).detach())

    before = loss()
    policy.learn(block, page)
    assert loss() < before


def test_a_shift_of_tastes_makes_the_best_ranking_of_before_lose():
    knobs = {"items": 300, "queries": 40, "shoppers": 100, "page": 10, "taste_weight": 4.0}
    old, new = (World(seed=0, taste_shift=shift, **knobs) for shift in (0.0, 1.0))
    request = arrivals(new, 600, first=2**33)
    late = request.day >= new.days / 2
    items = Mixture().rank(new, request)
    prices = new.prices(items, request.day)
    truth = [w.step(w.initial_state(), request, items, prices)[0] for w in (old, new)]
    value = [of.p_click / of.p_examine * of.p_purchase_given_click for of in truth]
    kept, knowing = (np.take_along_axis(value[1], best_places(by, 3), axis=1).sum(1) for by in value)
    assert kept[~late].mean() > 0.99 * knowing[~late].mean()
    assert kept[late].mean() < 0.9 * knowing[late].mean()


@pytest.fixture(scope="module")
def compared(online_run, shop):
    names = ["greedy", "thompson", "random"]
    made = policies_of(online_run, shop, names, half_life=200.0)
    return compare(shop, made, requests=200, seeds=(0, 1), page=K, every=25)


def test_all_policies_meet_the_same_requests_and_the_oracle_is_ahead_of_all(compared, shop):
    assert compared.policies == ["static", "greedy", "thompson", "random", "oracle"]
    assert compared.shift == pytest.approx(100, abs=3)
    oracle = compared.purchases("oracle").mean()
    assert all(compared.purchases(name).mean() < oracle for name in compared.policies[:-1])
    assert (compared.old_taste["static"][:, 0] == compared.old_taste["static"][:, 1]).all()
    again = compare(shop, {"static": lambda _: Static()}, requests=200, seeds=(0, 1), page=K, every=25)
    np.testing.assert_array_equal(again.purchases("static"), compared.purchases("static"))


def test_every_number_has_its_value_and_protocol(compared):
    found = measured(compared, window=50)
    assert all(set(of) == {"value", "low", "high", "protocol"} for of in found.values())
    assert found["oracle/share_of_oracle_after"]["value"] == pytest.approx(1.0)
    gain = compared.purchases("greedy")[:, compared.shift :] - compared.purchases("static")[:, compared.shift :]
    assert found["greedy/gain_after"]["value"] == pytest.approx(gain.mean())
    regret = (compared.purchases("oracle") - compared.purchases("static")).sum(1).mean()
    assert found["static/regret"]["value"] == pytest.approx(regret)
    assert {"static/satisfaction_after", "static/empty_after", "static/revenue_before"} <= set(found)
    with pytest.raises(ConfigError, match=r"window=500 must lie in 1"):
        measured(compared, window=500)


def test_recovery_is_when_half_of_the_static_models_fall_is_made_good():
    oracle = np.ones((1, 200))
    static = np.where(np.arange(200) < 100, 0.8, 0.6)[None]
    policy = np.where((np.arange(200) < 100) | (np.arange(200) >= 130), 0.8, 0.6)[None]
    assert recovery(policy, static, oracle, shift=100, window=10) == 35.0  # 30 lost, then 5 of the window's 10
    assert recovered(policy, static, oracle, shift=100) == pytest.approx([0.7])
    assert np.isnan(recovery(static, static, oracle, shift=100, window=10))
    assert np.isnan(recovery(policy, policy[:, ::-1], oracle, shift=100, window=10))  # it lost nothing
    assert np.isnan(recovered(policy, oracle * 0.5, oracle, shift=100)).all()
    assert moving(np.arange(4.0), 2).tolist() == [0.0, 0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"every": 0}, "every=0 must lie in 1 .. 100"),
        ({"every": 150}, "every=150 must lie in"),
        ({"page": 41}, "page=41 must be <= candidates=40"),
        ({"seeds": ()}, "seeds= must be distinct"),
        ({"seeds": (1, 1)}, "seeds=1,1 must be distinct"),
    ],
)
def test_what_cannot_be_compared_is_refused(shop, asked, told):
    with pytest.raises(ConfigError, match=told):
        compare(shop, {"static": lambda _: Static()}, **{"requests": 200, "seeds": (0,), "page": K} | asked)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda run, shop: policies_of(run, shop, ["statik"]), "policies: 'statik' must be one of"),
        (lambda run, shop: Shop.of_run(run, candidates=151), r"candidates=151 must lie in 1 .. 150"),
        (lambda run, shop: Shop.of_run(run, components=-1), "components=-1 must be >= 0"),
        (lambda run, shop: Shop(shop.scorer, shop.world, 150).found(shop.requests(4, 0)), "items are on sale on day"),
        (lambda run, shop: Market(shop.world, 0), "page=0 must be >= 1"),
        (lambda run, shop: LastLayer(width=3, spread=0.0), "spread=0.0 must be > 0"),
        (lambda run, shop: LastLayer(width=3, epsilon=2.0), r"epsilon=2.0 must lie in \[0, 1\]"),
        (lambda run, shop: Incremental(run, shop, rate=0.0), "rate=0.0 must be > 0"),
        (lambda run, shop: Incremental(run, shop, steps=0), "steps=0"),
        (lambda run, shop: Incremental(run, shop, replay=-1.0), "replay=-1.0 must be >= 0"),
    ],
)
def test_arguments_out_of_range_are_named(online_run, shop, made, told):
    with pytest.raises(ConfigError, match=told):
        made(online_run, shop)
