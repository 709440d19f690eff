"""From requests to pages: the run's probabilities in the order that a ranking asks for, alone or among others."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from funneltune.data import Asked
from funneltune.decisions import (
    SUFFIXES,
    Ranking,
    Recommender,
    Request,
    Scorer,
    Summary,
    logged_requests,
    new_items,
    page_table,
    write_pages,
)
from funneltune.decisions.diversity import VectorLikeness, intra_list_similarity
from funneltune.errors import ConfigError, DataError, RunError
from funneltune.files import require_new
from small_market import train

QUERY = "red running shoes"
ONE = Request("1", Asked(query=QUERY))


@pytest.fixture(scope="module")
def scorer(market_run):
    return Scorer.of_run(market_run)


@pytest.fixture(scope="module")
def logged(scorer):
    return list(logged_requests(scorer, most=6))


@pytest.fixture(scope="module")
def with_features(tmp_path_factory):
    return Scorer.of_run(train(tmp_path_factory.mktemp("features"), "tuning=lora", "features=all"))


def recommender(scorer, new=(), **settings):
    return Recommender(scorer, Ranking.from_config(settings), new)


def page(scorer, request=ONE, **settings):
    return recommender(scorer, **settings).page(request)


def everything(scorer):
    return scorer.score([ONE.asked], [None])[0]


def test_without_rules_the_order_and_the_probabilities_are_the_runs(scorer):
    for by in ("ctr", "cvr", "ctcvr"):
        wanted = everything(scorer)[by]
        found = page(scorer, by=by, top=12)
        assert found.items.tolist() == np.argsort(-wanted, kind="stable")[:12].tolist()
        np.testing.assert_allclose(found.value, wanted[found.items], rtol=1e-5)
        assert found.before.tolist() == list(range(1, 13))
        assert set(found.why) == {""}


def test_revenue_is_price_times_ctcvr_and_a_requests_price_counts_before_the_logs(scorer):
    found = page(scorer, by="revenue", top=150)
    worth = everything(scorer)["ctcvr"] * scorer.catalogue.price
    assert found.items.tolist() == np.argsort(-worth, kind="stable").tolist()
    flat = page(scorer, Request("1", Asked(query=QUERY, columns={"price": 3.0})), by="revenue", top=5)
    np.testing.assert_allclose(flat.value, 3.0 * everything(scorer)["ctcvr"][flat.items], rtol=1e-6)


def test_equal_values_come_by_item_number(scorer, monkeypatch):
    monkeypatch.setattr(scorer, "score", lambda asked, items: [{r: np.full(150, 0.5) for r in scorer.rates}])
    assert page(scorer, top=20).items.tolist() == list(range(20))
    turned = Request("1", ONE.asked, np.arange(150)[::-1].copy())
    assert page(scorer, turned, top=20).items.tolist() == list(range(20))


@pytest.mark.parametrize("candidates", ["all", "logged", "hybrid"])
def test_a_page_is_the_same_alone_and_among_others_to_the_last_bit(with_features, candidates):
    settings = {"candidates": candidates, "depth": 40, "diversity": {"weight": 0.6}, "exposure": {"column": "brand"}}
    made = recommender(with_features, **settings)
    requests = list(logged_requests(with_features, most=5))
    among = list(made.pages(requests))
    for request, one in zip(reversed(requests), reversed(among), strict=True):
        alone = recommender(with_features, **settings).page(request)
        np.testing.assert_array_equal(alone.items, one.items)
        np.testing.assert_array_equal(alone.value, one.value)
        assert alone.why == one.why


def test_candidates_are_all_or_the_logged_or_what_a_way_finds(scorer, logged):
    request = logged[0]
    assert page(scorer, request).competing == 150
    shown = page(scorer, request, candidates="logged", top=50)
    assert sorted(shown.items) == sorted(set(request.items.tolist()))
    words = scorer.catalogue.titles[5]
    for way in ("lexical", "semantic", "collaborative", "popular", "hybrid"):
        found = page(scorer, replace(request, asked=replace(request.asked, query=words)), candidates=way, depth=7)
        assert 0 < found.competing <= 7, way
    own = Request("1", ONE.asked, np.array([7, 3, 7]))
    assert sorted(page(scorer, own).items) == [3, 7]


def test_a_shopper_who_is_not_known_is_ranked_for_by_the_query(with_features):
    known = page(with_features, Request("1", Asked(query=QUERY, user="shopper-000003")), top=150)
    cold = page(with_features, Request("1", Asked(query=QUERY, user="nobody")), top=150)
    other = page(with_features, Request("1", Asked(query="wool rug", user="nobody")), top=150)
    assert np.isfinite(cold.value).all()
    assert not np.array_equal(known.value, cold.value)
    assert not np.array_equal(cold.items, other.items)


def test_features_of_a_request_stay_with_their_items(with_features):
    request = next(iter(logged_requests(with_features, most=1)))
    prices = np.asarray(request.asked.columns["price"], dtype=float)
    found = page(with_features, request, candidates="logged", by="revenue", top=50)
    by_item = dict(zip(request.items.tolist(), prices, strict=True))
    np.testing.assert_allclose(found.value, [by_item[n] for n in found.items] * found.p["ctcvr"], rtol=1e-6)


def test_new_items_compete_by_their_text_and_a_copy_of_a_known_one_has_its_probability(scorer):
    best = int(page(scorer, top=1).items[0])
    title = scorer.catalogue.titles[best]
    new = [{"item": "new-1", "title": title, "price": 5.0, "brand": "Nobody"}, {"item": "new-2", "title": "unlike it"}]
    made = recommender(scorer, new, top=152)
    found = made.page(ONE)
    assert found.competing == 152
    place = {made.items.keys[number]: at for at, number in enumerate(found.items)}
    assert found.p["ctcvr"][place["new-1"]] == pytest.approx(found.p["ctcvr"][place[scorer.catalogue.keys[best]]])
    assert place["new-1"] in (0, 1)
    varied = recommender(scorer, new, top=3, diversity={"weight": 0.2}).page(ONE)
    assert place["new-1"] not in varied.items[:2] or best not in varied.items[:2]


def test_rules_move_items_and_say_so(scorer):
    plain = page(scorer, top=150)
    first, second = plain.items[:2]
    keys = scorer.catalogue.keys
    brand = scorer.catalogue.column("brand")
    gone = page(scorer, rules={"without": {"brand": [brand[first]]}}, top=3)
    assert brand[first] not in brand[gone.items]
    assert gone.why[0].endswith("above it dropped")
    pinned = page(scorer, rules={"pinned": {2: keys[plain.items[-1]]}}, top=3)
    assert pinned.items.tolist() == [first, plain.items[-1], second]
    assert pinned.why == ("", "pinned", "others moved up")
    assert pinned.before.tolist() == [1, 150, 2]
    boosted = page(scorer, rules={"boost": {"key": {keys[second]: 1e6, keys[first]: 0.5}}}, top=150)
    assert boosted.items[0] == second
    assert boosted.why[0] == "boost x1e+06"
    assert "bury x0.5" in boosted.why[boosted.items.tolist().index(first)]
    assert boosted.value[0] == pytest.approx(1e6 * plain.value[1])


def test_a_pinned_item_competes_even_where_it_was_not_found(scorer, logged):
    outside = next(n for n in range(150) if n not in logged[0].items)
    rules = {"pinned": [scorer.catalogue.keys[outside]]}
    assert page(scorer, logged[0], candidates="logged", rules=rules).items[0] == outside


def test_diversity_makes_pages_less_alike_and_its_likeness_is_that_of_the_vectors(scorer):
    plain = page(scorer)
    varied = page(scorer, diversity={"weight": 0.3, "pool": 100})
    likeness = VectorLikeness(scorer.item_vectors)
    assert varied.plain.items.tolist() == plain.items.tolist()
    assert varied.similarity == pytest.approx(intra_list_similarity(likeness, varied.items), rel=1e-5)
    assert varied.plain.similarity == pytest.approx(intra_list_similarity(likeness, plain.items), rel=1e-5)
    assert varied.similarity < varied.plain.similarity
    by_brand = page(scorer, diversity={"weight": 0.1, "by": "brand", "pool": 150}, top=5)
    assert len(set(scorer.catalogue.column("brand")[by_brand.items])) == 5


def test_a_run_without_texts_is_told_to_compare_columns(scorer, monkeypatch):
    def none(self):
        raise ConfigError("backbone=none reads no text.")

    monkeypatch.setattr(Scorer, "item_vectors", property(none))
    with pytest.raises(ConfigError, match=r"diversity\.by=\[category,brand\]"):
        page(scorer, diversity={"weight": 0.3})


def test_exposure_brings_groups_nearer_to_what_they_are_due_and_the_cost_is_told(scorer, logged):
    made = recommender(scorer, exposure={"column": "domain"}, top=10)
    pages = list(made.pages(logged))
    summary = Summary.of(made, pages)
    assert summary.distance[1] < min(summary.distance[0], 0.1)
    assert summary.purchases[1] <= summary.purchases[0]
    np.testing.assert_allclose(summary.groups[["due", "alone", "shown"]].sum(), 1)
    weights = 1 / np.log2(np.arange(2, 12))
    assert summary.purchases[1] == pytest.approx(np.mean([(weights * one.p["ctcvr"]).sum() for one in pages]))
    told = "\n".join(summary.in_words())
    assert "expected purchases per page" in told
    assert "exposure away from what is due" in told


def test_a_request_whose_candidates_are_all_dropped_has_an_empty_page(scorer, logged):
    made = recommender(scorer, candidates="logged", rules={"price": [0, float(np.sort(scorer.catalogue.price)[0])]})
    summary = Summary.of(made, pages := list(made.pages(logged)))
    assert summary.empty
    assert "price drops" in summary.dropped
    assert f"{len(summary.empty)} of 6 requests have no page" in summary.in_words()[-1]
    assert len(page_table(made, pages)) == sum(len(one.items) for one in pages)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"candidates": "hybird"}, "candidates='hybird' must be one of all, logged, lexical.*did you mean 'hybrid'"),
        ({"by": "ctvr"}, "by='ctvr' must be one of ctr, cvr, ctcvr or revenue"),
        ({"exposure": {"column": "vendor"}}, "exposure.column: the items have no column 'vendor'"),
        ({"exposure": {"column": "domain", "target": {"homes": 0.5}}}, "exposure.target.homes: .* mean 'home'"),
        ({"diversity": {"by": "brnd"}}, "diversity.by: the items have no column 'brnd'; did you mean 'brand'"),
        ({"candidates": "logged"}, "candidates=logged: request 1 names no items"),
    ],
)
def test_what_the_log_does_not_have_is_refused(scorer, settings, told):
    with pytest.raises(ConfigError, match=told):
        page(scorer, **settings)


def test_the_table_has_a_row_per_place_in_every_format(scorer, logged, tmp_path):
    made = recommender(scorer, top=3)
    frame = page_table(made, list(made.pages(logged)))
    assert list(frame.columns) == [
        *("request", "place", "item", "title", "p_click", "p_purchase_given_click", "p_click_and_purchase"),
        *("value", "before", "why"),
    ]
    assert frame.groupby("request", sort=False).place.apply(list).tolist() == [[1, 2, 3]] * 6
    for name, read in (("a.parquet", pd.read_parquet), ("a.csv", pd.read_csv)):
        write_pages(frame, tmp_path / name)
        np.testing.assert_array_equal(read(tmp_path / name)["value"], frame["value"])
    write_pages(frame, tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["item"] for line in lines] == frame["item"].tolist()
    for name, told in (("a.csv", "exists"), ("b.txt", "must end in .parquet or .csv or .jsonl")):
        with pytest.raises(RunError, match=told):
            require_new(tmp_path / name, SUFFIXES)


def test_new_items_are_read_without_their_empty_cells(tmp_path):
    (tmp_path / "new.csv").write_text("item,title,price\n7,Lamp,3.5\n8,Rug,\n")
    assert new_items(tmp_path / "new.csv") == [
        {"item": "7", "title": "Lamp", "price": 3.5},
        {"item": "8", "title": "Rug"},
    ]
    (tmp_path / "bare.jsonl").write_text('{"title": "Lamp"}\n')
    (tmp_path / "torn.parquet").write_text("PAR")
    for name, told in (
        ("bare.jsonl", "no column item"),
        ("torn.parquet", "cannot be read"),
        ("gone.csv", "is no file"),
    ):
        with pytest.raises(DataError, match=told):
            new_items(tmp_path / name)


def test_a_page_in_two_steps_is_the_page_and_rankings_may_share_an_assortment(scorer):
    first = Recommender(scorer, Ranking(top=5))
    again = Recommender(scorer, Ranking(top=5), items=first.items)
    competing = again.competing(ONE)
    placed = again.placed(competing, scorer.score([competing.asked], [competing.numbers])[0])
    whole = first.page(ONE)
    assert placed.items.tolist() == whole.items.tolist()
    np.testing.assert_allclose(placed.value, whole.value, rtol=1e-6)
    assert again.items.codes("brand", "x")[1] is first.items.codes("brand", "y")[1]


def test_a_scorer_in_another_calibration_is_the_same_run(scorer):
    raw = scorer.under("none")
    assert raw.scalings == {}
    assert raw.module is scorer.module
    assert raw.item_side is scorer.item_side
    with pytest.raises(RunError, match=r"calibration=odd must be none or one of"):
        scorer.under("odd")
