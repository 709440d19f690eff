"""A run's probabilities for requests that were never logged, held against those that it predicted of logged ones."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from funneltune.data import Asked
from funneltune.decisions import Scorer, logged_requests, read_requests
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import TaskFunnel
from small_market import train

KINDS = {
    "twin": ["tuning=lora", "features=none"],
    "all": ["tuning=frozen", "features=all"],
    "cross": ["tuning=houlsby", "features=all", "features.history=0", "backbone.interaction=cross"],
    "no_texts": ["backbone=none", "tuning=frozen", "features=all"],
    "per_task": ["tuning=lora", "tuning.sharing=per_task", "features=none"],
}


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    return train(tmp_path_factory.mktemp(request.param), *KINDS[request.param])


@pytest.fixture(scope="module")
def scorer(run):
    return Scorer.of_run(run, calibration="none")


@pytest.fixture(scope="module")
def with_all(tmp_path_factory):
    return Scorer.of_run(train(tmp_path_factory.mktemp("with_all"), *KINDS["all"]))


def test_logged_requests_have_the_probabilities_that_the_run_predicted_of_them(run, scorer):
    told = pd.read_parquet(run / "predictions.parquet")
    requests = list(logged_requests(scorer, most=5))
    found = scorer.score([one.asked for one in requests], [one.items for one in requests])
    for request, said in zip(requests, found, strict=True):
        wanted = told[told.request == int(request.key)]
        assert wanted.item.tolist() == request.items.tolist()
        assert list(said) == ["ctr", "cvr", "ctcvr"]
        np.testing.assert_allclose(said["ctr"], wanted.p_click, rtol=2e-5)
        np.testing.assert_allclose(said["cvr"], wanted.p_purchase_given_click, rtol=2e-5)
        np.testing.assert_allclose(said["ctcvr"], wanted.p_click_and_purchase, rtol=2e-5)


def test_a_request_is_scored_alike_alone_and_among_others_and_all_items_are_the_default(scorer):
    requests = list(logged_requests(scorer, most=4))
    many = scorer.score([one.asked for one in requests], [one.items for one in requests])
    for request, said in zip(requests, many, strict=True):
        alone = scorer.score([request.asked], [request.items])[0]
        np.testing.assert_allclose(alone["ctcvr"], said["ctcvr"], rtol=1e-5)
    asked = Asked("red shoes", user=requests[0].asked.user)
    everything = scorer.score([asked], [None])[0]["ctr"]
    assert everything.shape == (len(scorer.catalogue),)
    some = np.array([7, 3, 90])
    np.testing.assert_allclose(scorer.score([asked], [some])[0]["ctr"], everything[some], rtol=1e-5)


def test_an_item_with_its_own_fields_is_the_item_itself(scorer):
    asked = [Asked("garden chair"), Asked("lamp")]
    known = scorer.score(asked, [np.array([11]), np.array([11])])
    again = scorer.score_new(asked, [{}], like=11)
    for one, other in zip(known, again, strict=True):
        np.testing.assert_allclose(one["ctcvr"], other["ctcvr"], rtol=1e-5)


def test_a_batch_with_every_text_gives_the_same_through_the_module(scorer):
    requests = list(logged_requests(scorer, most=3))
    asked, items = [one.asked for one in requests], [one.items for one in requests]
    with torch.inference_mode():
        said = scorer.calibrated(scorer.module(scorer.batch(asked, items)))
    wanted = np.concatenate([one["ctcvr"] for one in scorer.score(asked, items)])
    np.testing.assert_allclose(said["ctcvr"], wanted, rtol=2e-5)


def test_what_a_row_is_told_beside_its_texts_changes_it_and_a_new_title_does(with_all):
    asked, item = Asked("red running shoes", user=next(iter(with_all.rows.users))), np.array([5])
    usual = with_all.score([asked], [item])[0]["ctr"]
    cheap = with_all.score([Asked(asked.query, asked.user, columns={"price": 0.5})], [item])[0]["ctr"]
    cold = with_all.score([Asked(asked.query)], [item])[0]["ctr"]
    renamed = with_all.score_new([asked], [{"title": "wholly another thing"}, {"price": 0.5}], like=5)[0]["ctr"]
    assert not np.isclose(usual, cheap)
    assert not np.isclose(usual, cold)
    assert not np.isclose(usual, renamed[0])
    np.testing.assert_allclose(renamed[1], cheap, rtol=1e-5)


def test_an_item_that_the_log_does_not_have_is_read_by_its_text_and_fields(with_all):
    asked = Asked("red running shoes")
    new = [{"title": "red running shoes", "brand": "none", "price": 20.0}, {"title": "red running shoes"}]
    said = with_all.score_new([asked], new)[0]
    assert np.isfinite(said["ctcvr"]).all()
    assert said["ctcvr"][0] != said["ctcvr"][1]
    with pytest.raises(ConfigError, match="'titel' is nothing that the log tells of items; did you mean 'title'"):
        with_all.score_new([asked], [{"titel": "x"}])
    with pytest.raises(ConfigError, match="price='cheap' must be a number"):
        with_all.score_new([asked], [{"price": "cheap"}], like=3)


def test_calibration_is_the_runs_own_and_the_one_that_predict_applies(with_all, tmp_path):
    run = with_all.folder
    scaled = Scorer.of_run(run, calibration="platt")
    requests = list(logged_requests(scaled, most=2))
    found = scaled.score([one.asked for one in requests], [one.items for one in requests])
    plain = with_all.score([one.asked for one in requests], [one.items for one in requests])
    slope = scaled.scalings["ctr"]
    covered = [rate for rate in ("ctr", "cvr") if rate in scaled.scalings]
    assert scaled.calibration == ("platt" if len(covered) == 2 else f"platt of {', '.join(covered)} alone")
    assert with_all.calibration == "none"
    scaled.scalings.pop("cvr", None)
    assert scaled.calibration == "platt of ctr alone"
    np.testing.assert_allclose(found[0]["ctr"], slope.apply(plain[0]["ctr"]), rtol=1e-6)
    if "cvr" not in scaled.scalings:
        np.testing.assert_allclose(found[0]["cvr"], plain[0]["cvr"])
    np.testing.assert_allclose(found[0]["ctcvr"], found[0]["ctr"] * found[0]["cvr"], rtol=1e-6)


def test_pasts_end_before_the_request_and_a_stranger_has_none(with_all):
    rows = with_all.rows
    some = rows.past.user[0]
    key = list(rows.users)[some]
    mine = rows.past.user == some
    first = rows.past.come[mine][0]
    assert (rows.before([Asked(user=key, time=first)], 4) == -1).all()
    assert rows.before([Asked(user=key, time=first + 1)], 1)[0, 0] in rows.past.item[mine & (rows.past.come == first)]
    assert (rows.before([Asked(user="nobody")], 4) == -1).all()
    late = rows.before([Asked(user=key)], 4)[0]
    assert late[0] == rows.past.item[mine][-1]
    assert (with_all.user_vectors(["nobody"]) == 0).all()
    count = (late >= 0).sum()
    wanted = with_all.item_vectors[late[:count]].mean(axis=0)
    np.testing.assert_allclose(with_all.user_vectors([key], events=4)[0], wanted, rtol=1e-5)


def test_words_and_titles_have_the_vectors_that_the_run_reads(with_all):
    words = ["red running shoes", "a", "blue cotton shirt for men"]
    found = with_all.query_vectors(words)
    assert found.shape == (3, with_all.item_vectors.shape[1])
    np.testing.assert_allclose(found[1:2], with_all.query_vectors(["a"]), atol=1e-6)
    title = with_all.catalogue.titles[9]
    np.testing.assert_allclose(with_all.query_vectors([title])[0], with_all.item_vectors[9], atol=1e-5)


def test_what_is_wrong_is_told(with_all):
    with pytest.raises(ConfigError, match="query='  ' is empty"):
        with_all.score([Asked("  ")], [None])
    with pytest.raises(ConfigError, match=r"items: 150 must lie in 0 \.\. 149"):
        with_all.score([Asked("shoes")], [np.array([150])])
    with pytest.raises(ConfigError, match="item='item-00001' is none of the log's 150 items; did you mean"):
        with_all.catalogue.number("item-00001")
    with pytest.raises(ConfigError, match="'brnd' is no column of the log's items; did you mean 'brand'"):
        with_all.catalogue.column("brnd")


def test_requests_from_a_file_are_what_it_says(with_all, tmp_path):
    keys = with_all.catalogue.keys
    frame = pd.DataFrame(
        {
            "request": ["b", "a", "b"],
            "query": ["shoes", "lamp", "shoes"],
            "user": ["shopper-000001", None, "shopper-000001"],
            "time": ["2025-02-01T00:00:00", "2025-02-02", "2025-02-01T00:00:00"],
            "item": [keys[4], keys[9], keys[2]],
            "price": [3.0, 4.0, 5.0],
        }
    )
    frame.to_csv(tmp_path / "r.csv", index=False)
    first, second = read_requests(tmp_path / "r.csv", with_all)
    assert (first.key, first.items.tolist(), first.asked.user) == ("b", [4, 2], "shopper-000001")
    assert first.asked.columns["price"].tolist() == [3.0, 5.0]
    assert first.asked.time == 1738368000
    assert (second.asked.query, second.asked.user) == ("lamp", "")
    frame[["query"]].to_json(tmp_path / "q.jsonl", orient="records", lines=True)
    assert [one.items for one in read_requests(tmp_path / "q.jsonl", with_all)] == [None] * 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("querry\nshoes\n", "column 'querry' is none of .*; did you mean 'query'"),
        ("time\n3\n", "needs a column query .* or user"),
        ("query\n", "has no row"),
        ("query,time\nshoes,noon\n", "time='noon' must be unix seconds or ISO 8601"),
        ("request,query\n1,shoes\n1,lamp\n", "the request of row 1 has several values of query"),
        ("query,item\nshoes,nothing\n", "the request of row 1: item='nothing' is none of the log's"),
    ],
)
def test_a_file_of_requests_that_cannot_be_read_is_told(with_all, tmp_path, content, told):
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(DataError, match=told):
        read_requests(tmp_path / "r.csv", with_all)


def test_requests_need_a_file_of_a_known_kind(with_all, tmp_path):
    with pytest.raises(DataError, match=r"requests=.*r\.csv is no file; name one that ends in \.csv, \.parquet"):
        read_requests(tmp_path / "r.csv", with_all)
    (tmp_path / "r.xls").write_text("x")
    with pytest.raises(DataError, match=r"must be a file that ends in \.csv, \.parquet, \.jsonl"):
        read_requests(tmp_path / "r.xls", with_all)
    (tmp_path / "r.jsonl").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_requests(tmp_path / "r.jsonl", with_all)


def test_a_run_without_a_probability_is_refused(with_all):
    funnel = TaskFunnel.from_config({"rating": {"kind": "regression"}})
    other = replace(with_all.assembly, data=SimpleNamespace(funnel=funnel))
    with pytest.raises(ConfigError, match="predicts no probability"):
        Scorer(other, {}, with_all.folder)
