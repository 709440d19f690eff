"""A/B tests on the marketplace: luck with the truth's mean, errors and powers as planned, the true winner."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from funneltune.cli import main
from funneltune.data import LexicalIndex
from funneltune.decisions import Scorer
from funneltune.decisions.abtest import (
    RIVALS,
    Bench,
    Pages,
    Pools,
    Settings,
    abtest,
    experiment,
    interleave,
    share_right,
    tried,
)
from funneltune.decisions.abtest.arms import FIRST, require_one_world
from funneltune.decisions.abtest.record import picture, record_of
from funneltune.decisions.abtest.study import compared
from funneltune.errors import ConfigError, RunError
from funneltune.marketplace import satisfaction
from funneltune.marketplace.worlds import differing
from funneltune.metrics.ab_tests import always_valid, mixing_variance, sample_size
from online_runs import SMALL

FAST = Settings(requests=300, candidates=30, looks=2, trials=200, seeds=(0, 1))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("abtest")
    assert main(["train", f"run_dir={folder / 'run'}", f"data.cache_dir={folder / 'cache'}", *SMALL]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def bench(run):
    return Bench.of_run(run, FAST.requests, candidates=FAST.candidates)


@pytest.fixture(scope="module")
def arms(bench):
    return bench.of_scorer("A", bench.shop.scorer, ""), bench.rival("oracle", "ctcvr")


@pytest.fixture(scope="module")
def found(bench, arms):
    return compared(bench, *arms, FAST)


def pages(p_click, p_purchase, one_click=False):
    p = np.asarray(p_click, dtype=np.float64)
    return Pages(np.zeros(p.shape, np.int64), p, np.asarray(p_purchase), p * 0 + 10.0, p * 0 - 2.0, one_click)


# --- what comes of a page ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_click", [False, True])
def test_what_is_drawn_has_the_mean_that_is_expected(one_click):
    rng = np.random.default_rng(0)
    of = pages(np.tile([0.5, 0.3, 0.1], (20_000, 1)), np.tile([0.25, 0.03, 0.1], (20_000, 1)), one_click)
    drawn = of.draw(rng)
    for name, values in drawn.items():
        np.testing.assert_allclose(values.mean(axis=0), of.expected[name][0], atol=0.15 if name == "revenue" else 0.03)
    np.testing.assert_allclose((drawn["purchases"].sum(axis=1) == 0).mean(), of.unsold[0], atol=0.01)
    assert (drawn["clicks"].sum(axis=1).max() == 1) == one_click
    assert (drawn["purchases"] <= drawn["clicks"]).all()
    assert set(np.unique(drawn["satisfaction"])) == {0.0, -2.0}


def test_a_page_is_worth_what_the_world_says(bench, arms):
    oracle = arms[1].pages
    truth = bench.truth.outcomes(oracle.items)
    np.testing.assert_array_equal(oracle.p_click, truth.p_click)
    np.testing.assert_allclose(oracle.p_purchase, truth.p_click * truth.p_purchase_given_click, rtol=1e-6)
    np.testing.assert_allclose(oracle.price, bench.world.prices(oracle.items, bench.request.day))
    of = satisfaction.expected(truth, oracle.worth, bench.request)
    assert bench.satisfaction(oracle) == pytest.approx(of)


def test_requests_are_new_and_come_on_the_days_behind_the_training(bench):
    assert bench.request.number.min() == FIRST
    share = float(bench.shop.scorer.assembly.cfg.data.split.test)
    assert bench.request.day.min() >= (1 - share) * bench.world.days
    assert bench.request.day.max() < bench.world.days
    launched = bench.world.catalogue.launched
    assert (launched[bench.items] <= bench.request.day[:, None]).all()


# --- arms ----------------------------------------------------------------------------------------------------------


def test_a_run_shows_the_best_of_its_candidates(bench, arms):
    asked = bench.shop.asked(bench.request, bench.prices)[7]
    said = bench.shop.scorer.score([asked], [bench.items[7]])[0]["ctcvr"]
    assert arms[0].pages.items[7].tolist() == bench.items[7][np.argsort(-said, kind="stable")[:5]].tolist()
    by_revenue = bench.of_scorer("A", bench.shop.scorer, "revenue").pages.items[7]
    assert (
        by_revenue.tolist()
        == bench.items[7][np.argsort(-said * bench.prices[7].astype(float), kind="stable")[:5]].tolist()
    )


@pytest.mark.parametrize("rival", RIVALS)
def test_every_rival_fills_pages_from_the_candidates(bench, rival):
    items = bench.rival(rival, "ctcvr").pages.items
    assert items.shape == (FAST.requests, bench.world.page)
    assert all(len(set(row)) == len(row) and set(row) <= set(of) for row, of in zip(items, bench.items, strict=True))


def test_the_oracle_sells_the_most_and_popular_items_are_the_clicked_ones(bench, arms):
    sold = {name: bench.rival(name, "ctcvr").pages.expected["purchases"].sum() for name in RIVALS}
    assert max(sold, key=sold.get) == "oracle"
    assert sold["oracle"] > arms[0].pages.expected["purchases"].sum()
    clicks = bench.shop.scorer.catalogue.popularity
    first = bench.rival("popularity", "").pages.items[:, 0]
    assert (clicks[first] == clicks[bench.items].max(axis=1)).all()


def test_bm25_shows_what_shares_words_first(bench):
    page = bench.rival("bm25", "").pages.items[0]
    words = str(bench.world.queries["query"][bench.request.query[0]])
    scores = LexicalIndex(bench.shop.scorer.catalogue.titles).scores(words)
    assert scores[page].tolist() == sorted(scores[bench.items[0]], reverse=True)[: len(page)]
    assert scores[page[0]] > 0


# --- trials --------------------------------------------------------------------------------------------------------


def test_without_a_difference_one_test_errs_at_its_level_peeking_more_and_the_always_valid_p_less():
    pool = np.random.default_rng(0).exponential(1.0, 5000)
    of = tried(pool, pool, 400, 20, 3000, np.random.default_rng(1))
    assert of.fixed == pytest.approx(0.05, abs=0.012)
    assert of.peeking > 0.15
    assert of.sequential < 0.05
    assert of.used > 0.97


def test_the_planned_size_has_the_planned_power():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 20_000), rng.normal(0, 2, 20_000)
    a, b = a - a.mean(), b - b.mean() + 0.4
    n = math.ceil(sample_size(a.std(), b.std(), 0.4))
    of = tried(a, b, n, 5, 3000, np.random.default_rng(1))
    assert of.fixed == pytest.approx(0.8, abs=0.025)
    assert of.sequential < of.fixed
    assert of.used < 1


def test_trials_decide_as_welch_and_the_sequential_test_do():
    """One trial: the arrays of `tried` against the functions that are tested against references."""
    a, b = np.random.default_rng(0).normal(0, 1, 60), np.random.default_rng(1).normal(0.5, 1, 60)
    for seed in range(30):
        of = tried(a, b, 20, 1, 1, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        one, other = a[rng.integers(60, size=(1, 20))][0], b[rng.integers(60, size=(1, 20))][0]
        assert of.fixed == (stats.ttest_ind(one, other, equal_var=False).pvalue < 0.05)
        variance = one.var(ddof=1) / 20 + other.var(ddof=1) / 20
        valid = always_valid(other.mean() - one.mean(), variance, mixing_variance(2 * a.var() / 20))
        assert of.sequential == (valid.p_value <= 0.05)


def test_nothing_that_happens_is_no_difference():
    assert tried(np.zeros(50), np.zeros(50), 20, 5, 100, np.random.default_rng(0)) == (0, 0, 0, 1)


def test_a_sign_without_a_difference_counts_a_half():
    rng = np.random.default_rng(0)
    assert share_right(np.zeros(5), None, 3, 1.0, 10, rng) == 0.5
    assert share_right(np.zeros(5), np.ones(5), 3, 1.0, 10, rng) == 1.0
    assert share_right(np.zeros(5), np.ones(5), 3, -1.0, 10, rng) == 0.0


def test_pools_hold_what_shoppers_are_expected_to_bring(bench, arms):
    pools = Pools.of(bench, arms[1].pages, np.random.default_rng(0))
    for name, pool in pools.items():
        assert pool.mean == pytest.approx(arms[1].pages.expected[name].sum() / len(bench.users))
        assert pool.drawn.mean() == pytest.approx(pool.mean, rel=0.1)
        assert pool.values.mean() == pytest.approx(pool.mean)
        assert ((pool.values == 0) == (pool.drawn == 0)).all()
    assert Pools(np.zeros(3), 0.0).values.tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(Pools(np.array([0.0, 1.0, -1.0]), 0.1).values, [0.0, 1.15, -0.85])


def test_an_experiment_puts_every_shopper_into_one_arm_and_ends_with_the_fixed_test(bench, arms):
    of = experiment(bench, arms[0].pages, arms[1].pages, "purchases", 2, np.random.default_rng(0))
    assert sum(of.shoppers) == len(bench.users)
    assert of.looks.difference[-1] == pytest.approx(of.differences["purchases"].estimate)
    assert of.looks.fixed_p[-1] == pytest.approx(of.differences["purchases"].p_value)
    assert of.looks.valid_p == sorted(of.looks.valid_p, reverse=True)
    assert all(valid > fixed for valid, fixed in zip(of.looks.valid_reach, of.looks.fixed_reach, strict=True))
    first = next((n for n, p in zip(of.looks.shoppers, of.looks.valid_p, strict=True) if p <= 0.05), None)
    assert of.looks.stopped == first
    assert replace(of.looks, valid_p=[1.0, 0.01]).stopped == len(bench.users)


# --- interleaving --------------------------------------------------------------------------------------------------


def test_interleaved_pages_prefer_the_oracle_and_equal_rankings_come_out_even(bench, arms):
    a, b = (arm.pages for arm in arms)
    rng = np.random.default_rng(0)
    for name, one in interleave(bench, a, b, rng, pairs=3).items():
        assert one.sign == 1, name
        assert one.values.mean() == pytest.approx(one.preference, rel=0.25)
    assert {one.sign for one in interleave(bench, b, a, rng, pairs=3).values()} == {-1}
    for one in interleave(bench, a, a, rng, pairs=3).values():
        assert one.preference == pytest.approx(0, abs=1e-9)
        assert one.values.std() > 0


# --- all of it -----------------------------------------------------------------------------------------------------


def test_the_oracle_wins_and_interleaving_needs_fewer_requests(found):
    assert found.winner == 1
    ways = {way.name: way for way in found.ways}
    assert list(ways) == ["A/B by purchases", "A/B by clicks", "interleaving by clicks", "interleaving by purchases"]
    assert all(way.right and way.finds == "B" for way in found.ways)
    assert ways["interleaving by purchases"].requests < ways["A/B by purchases"].requests
    assert all(way.simulated > 0.7 for way in found.ways)
    one, other = found.truth["purchases"]
    assert found.plan.effect == other - one > 0
    assert found.truth["conversion"][1] > found.truth["conversion"][0]


def test_the_converting_share_is_that_of_many_draws(bench, arms, found):
    rng = np.random.default_rng(0)
    shares = [(bench.by_user(arms[1].pages.draw(rng)["purchases"]) > 0).mean() for _ in range(200)]
    assert np.mean(shares) == pytest.approx(found.truth["conversion"][1], abs=0.01)


def test_a_ranking_against_itself_is_an_a_a_test(run):
    of = abtest(run, run, FAST)
    assert of.same
    assert of.winner == -1
    assert math.isinf(of.plan.needed)
    assert all(way.finds == "neither" and not way.right for way in of.ways)
    record = record_of(of, "a", "a")
    assert "A/A test" in record.notes[0]
    assert record.numbers["truth/purchases"]["value"] == 0


def test_the_record_names_a_wrong_winner(found):
    ways = [replace(way, finds="A", right=False) if "clicks" in way.name else way for way in found.ways]
    notes = record_of(replace(found, ways=ways), "a", "b").notes
    assert any("A/B by clicks, interleaving by clicks would name the other one" in note for note in notes)


def test_the_record_has_every_share_with_an_interval(found):
    share = record_of(found, "a", "b").numbers["equal/fixed"]
    wanted = stats.binomtest(round(share["value"] * FAST.trials), FAST.trials).proportion_ci(method="wilson")
    assert (share["low"], share["high"]) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"metric": "click"}, "metric=click must be one of purchases, clicks, .*; did you mean 'clicks'"),
        ({"metric": "xyz"}, "metric=xyz must be one of .*satisfaction.$"),
        ({"power": 1.0}, "power=1 must lie between 0 and 1"),
        ({"requests": 1}, "requests=1 must be at least 2"),
        ({"trials": 10}, "trials=10 must be at least 100"),
        ({"seeds": ()}, "seeds= must be whole numbers >= 0"),
        ({"seeds": (1, -1)}, "seeds=1,-1 must be whole numbers >= 0"),
    ],
)
def test_settings_out_of_range_are_refused(knobs, told):
    with pytest.raises(ConfigError, match=told):
        Settings(**knobs)


def test_too_few_candidates_and_too_many_looks_are_refused(run, bench, arms):
    with pytest.raises(ConfigError, match=r"candidates=4 must lie in 5 \.\. 150"):
        Bench.of_run(run, 50, candidates=4)
    with pytest.raises(ConfigError, match=r"looks=30 is too many for \d+ shoppers in two arms; add requests"):
        experiment(bench, arms[0].pages, arms[1].pages, "clicks", 30, np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"looks=11 must lie in 1 \.\. 10"):
        tried(np.zeros(50), np.zeros(50), 20, 11, 100, np.random.default_rng(0))


def test_what_the_second_ranks_by_says_nothing_of_a_rival_without_scores(run):
    with pytest.raises(ConfigError, match="by_b=ctr says nothing with run_b=bm25"):
        abtest(run, "bm25", replace(FAST, by_b="ctr"))
    with pytest.raises(RunError, match="nowhere"):
        abtest(run, "nowhere", FAST)


def test_runs_of_two_worlds_are_refused_and_logs_of_one_are_not(run):
    scorer = Scorer.of_run(run)
    source = dict(scorer.assembly.cfg.data.source)
    assert differing(source, {**source, "impressions": 99, "popular": 0.1}) == {}
    assert differing(source, {**source, "seed": 5}) == {"seed": (0, 5)}
    other = Scorer.of_run(run)
    require_one_world(scorer, other)
    other.assembly.cfg.data.source.items = 151
    with pytest.raises(ConfigError, match=r"data.source.items=151, and that of run_a has 150; give two runs of one"):
        require_one_world(scorer, other)


def test_an_experiment_without_a_purchase_has_its_picture_too(found):
    looks = found.happened[0].looks
    unknown = replace(looks, valid_reach=[math.nan] * len(looks.shoppers), fixed_reach=[math.nan] * len(looks.shoppers))
    picture(replace(found, happened=(replace(found.happened[0], looks=unknown), *found.happened[1:])))
