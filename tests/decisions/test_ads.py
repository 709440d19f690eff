"""Sponsored places: prices worked by hand, budgets, and what good predictions are worth in a world that is known."""

import numpy as np
import pytest

from funneltune.decisions import Scorer
from funneltune.decisions.ads import (
    Market,
    Request,
    Rules,
    Settings,
    auction,
    best_reserve,
    mean_conversion,
    play,
    sell,
    simulated_market,
)
from funneltune.decisions.ads.record import record_of, write
from funneltune.decisions.ads.study import BID, ORACLE, OWN
from funneltune.errors import ConfigError
from funneltune.metrics.intervals import clustered_mean
from small_market import train

APART = np.arange(4)


def sold(bid, rate, places=2, examined=None, advertiser=APART, **more):
    examined = np.ones(places) if examined is None else np.array(examined)
    return auction(np.array(bid, float), np.array(rate, float), np.array(advertiser)[: len(bid)], examined, **more)


def test_places_go_by_bid_times_rate_and_cost_what_keeps_them():
    found = sold([2.0, 5.0, 1.0], [0.10, 0.02, 0.15])  # scores .20, .10, .15
    assert found.chosen.tolist() == [0, 2]
    assert found.price == pytest.approx([0.15 / 0.10, 0.10 / 0.15])


def test_one_place_at_equal_rates_is_vickreys_auction_under_either_price():
    for payment in ("second", "vcg"):
        found = sold([3.0, 4.0, 1.0], [0.1, 0.1, 0.1], places=1, payment=payment)
        assert found.chosen.tolist() == [1]
        assert found.price == pytest.approx([3.0])


def test_vcg_charges_what_the_others_lose():
    # bids 10, 4, 2 at rate 1; places looked at with 1 and .5. Without the first: 4 and 2 stand at 1 and .5 = 5; with
    # it they have .5 x 4 = 2 and nothing: it takes 3 from them. The second takes .5 x 2 = 1, per look 2.
    found = sold([10.0, 4.0, 2.0], [1.0, 1.0, 1.0], examined=[1.0, 0.5], payment="vcg")
    assert found.price == pytest.approx([3.0, 2.0])
    assert sold([10.0, 4.0, 2.0], [1.0, 1.0, 1.0], examined=[1.0, 0.5]).price == pytest.approx([4.0, 2.0])
    assert sold([10.0, 4.0, 2.0], [1.0, 1.0, 1.0], payment="first").price == pytest.approx([10.0, 4.0])


def test_a_reserve_shuts_out_bids_below_it_and_is_the_least_price():
    found = sold([3.0, 1.0, 0.5], [0.1, 0.1, 0.1], places=3, reserve=0.8)
    assert found.chosen.tolist() == [0, 1]
    assert found.price == pytest.approx([1.0, 0.8])
    assert len(sold([0.5, np.nan], [0.1, 0.1], reserve=0.8).chosen) == 0
    assert sold([3.0], [0.1]).price == pytest.approx([0.0])  # no one else wants it


def test_no_price_is_above_the_bid_nor_below_the_reserve():
    rng = np.random.default_rng(0)
    for payment in ("second", "vcg", "first"):
        for _ in range(50):
            bid, rate = rng.exponential(size=12), rng.uniform(0.01, 0.3, 12)
            found = sold(bid, rate, 4, [1.0, 0.8, 0.5, 0.2], rng.integers(0, 6, 12), payment=payment, reserve=0.3)
            assert (found.price <= bid[found.chosen] + 1e-12).all()
            assert (found.price >= 0.3 - 1e-12).all()


def test_vcg_is_truthful_where_the_second_price_is_not():
    # the textbook's case: at the second price the first bidder gains by bidding less than its value
    def gain(bid, payment):
        found = sold([bid, 4.0, 2.0], [1.0, 1.0, 1.0], examined=[1.0, 0.9], payment=payment)
        place = found.chosen.tolist().index(0) if 0 in found.chosen else None
        return 0.0 if place is None else [1.0, 0.9][place] * (5.0 - found.price[place])

    assert max(gain(bid, "vcg") for bid in (1.0, 2.5, 3.5)) <= gain(5.0, "vcg") + 1e-12
    assert gain(2.5, "second") > gain(5.0, "second") + 1.0


def test_an_advertiser_has_one_place_and_does_not_price_its_own():
    items = {"bid": [5.0, 4.0, 1.0], "rate": [0.1, 0.1, 0.1], "advertiser": [0, 0, 1]}
    found = sold(**items)
    assert found.chosen.tolist() == [0, 2]
    assert found.price[0] == pytest.approx(1.0)
    assert sold(**items, one_each=False).chosen.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"payment": "third"}, "payment=third must be one of second, vcg, first"),
        ({"payment": "vcg", "examined": [0.5, 1.0]}, "looked at less and less"),
    ],
)
def test_what_is_no_auction_is_refused(more, told):
    with pytest.raises(ConfigError, match=told):
        sold([1.0, 2.0], [0.1, 0.1], **more)


# --- budgets -------------------------------------------------------------------------------------------------------


def campaign(budget, pacing, n=400, seed=0, **rules):
    """Three advertisers of one item each; the first is keen and has little money."""
    rng = np.random.default_rng(seed)
    market = Market(
        np.array([3.0, 1.0, 1.0]),
        np.array([30.0, 10.0, 10.0]),
        np.arange(3),
        ["a", "b", "c"],
        np.array([budget, np.inf, np.inf]),
    )
    requests = [Request(np.arange(3), rng.uniform(0.05, 0.2, 3), np.full(3, 0.1), user) for user in range(n)]
    rates = [request.attractive for request in requests]
    return play(requests, rates, market, Rules(slots=2, **rules), np.array([1.0, 0.7]), pacing=pacing)


def test_no_one_spends_more_than_its_budget_and_pacing_lasts_to_the_end():
    free = campaign(np.inf, "none").spent[0]
    whole, paced = campaign(free / 4, "none"), campaign(free / 4, "paced")
    for played in (whole, paced):
        assert played.spent[0] <= free / 4 * (1 + 1e-9)
    assert whole.ran_out[0] < 150  # a quarter of the money at will lasts for about a quarter of the requests
    assert paced.ran_out[0] > 300
    assert paced.spent[0] > 0.9 * free / 4
    assert paced.per_request["clicks"].sum() == pytest.approx(whole.per_request["clicks"].sum(), rel=0.2)


def test_who_paces_pays_less_for_a_click():
    free = campaign(np.inf, "none").spent[0]
    whole, paced = campaign(free / 4, "none"), campaign(free / 4, "paced")
    assert paced.per_request["surplus"].mean() > whole.per_request["surplus"].mean()


def test_money_adds_up():
    played = campaign(np.inf, "none")
    of = played.per_request
    assert of["revenue"].sum() == pytest.approx(played.spent.sum())
    assert of["surplus"] == pytest.approx(of["value"] - of["revenue"])
    by_purchase = campaign(np.inf, "none", pays="purchase")
    assert by_purchase.per_request["revenue"].sum() == pytest.approx(0.1 * of["revenue"].sum())


def test_in_a_cascade_a_place_is_reached_by_who_did_not_click_above():
    market = Market(np.array([3.0, 1.0]), np.array([9.0, 9.0]), np.arange(2), ["a", "b"], np.full(2, np.inf))
    one = [Request(np.arange(2), np.array([0.5, 0.4]), np.ones(2), 0)]
    found = play(one, [one[0].attractive], market, Rules(slots=2), np.ones(2), cascade=True)
    assert found.per_request["clicks"][0] == pytest.approx(0.5 + 0.5 * 0.4)


# --- a run ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ads")
    return Scorer.of_run(train(folder, "backbone=none", "tuning=frozen", "features=ids", "+data.leaks=ignore"))


@pytest.fixture(scope="module")
def market(scorer):
    return simulated_market(scorer, "brand", "click", mean_conversion(scorer))


@pytest.fixture(scope="module")
def found(scorer, market):
    return sell(scorer, market, Settings(slots=3, advertiser="brand"), 0.0)


def test_who_knows_the_chances_gives_advertisers_more(found):
    for way in (OWN, BID):
        assert found.against(ORACLE, "value").estimate < 0
        assert found.mean(ORACLE, "clicks").estimate > found.mean(way, "clicks").estimate
        assert found.mean(ORACLE, "value").estimate > found.mean(way, "value").estimate


def test_a_reserve_takes_places_from_the_cheap(found):
    filled = [of["filled"].estimate for _, of in found.curve]
    assert filled == sorted(filled, reverse=True)
    assert filled[0] == 1.0
    assert filled[-1] < 1.0


def test_the_reserve_is_chosen_on_validation_requests_by_predictions(scorer, market, monkeypatch):
    settings = Settings(slots=3, advertiser="brand", reserve=None)
    chosen = best_reserve(scorer, market, settings)
    assert chosen >= 0
    asked = []
    from funneltune.decisions.ads import study

    real = study.sale_of
    monkeypatch.setattr(study, "sale_of", lambda s, settings, split: asked.append(split) or real(s, settings, split))
    best_reserve(scorer, market, settings)
    assert asked == ["validation"]


def test_the_record_says_all(found, tmp_path):
    record = record_of(found, "runs/a", "")
    write(record, found, tmp_path)
    assert (tmp_path / "ads.png").stat().st_size > 10_000
    assert record.tables["ways"]["columns"][:2] == ["ranked_by", "revenue"]
    assert [row[0] for row in record.tables["budgets"]["rows"]] == ["none", "paced"]
    entry = record.numbers["the run less the bid alone/revenue"]
    assert entry["low"] <= entry["value"] <= entry["high"]
    assert any("VCG alone is truthful" in note for note in record.notes)


def test_a_clustered_mean_is_the_plain_one_where_each_row_is_a_cluster():
    values = np.random.default_rng(0).normal(size=50)
    found = clustered_mean(values, np.arange(50))
    assert found.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    doubled = clustered_mean(np.repeat(values, 2), np.repeat(np.arange(50), 2))
    assert doubled.standard_error == pytest.approx(found.standard_error)
    assert np.isnan(clustered_mean([1.0, 2.0], [0, 0]).low)
