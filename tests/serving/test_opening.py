"""A trained run behind the server: its own probabilities, whichever way they are asked for."""

import re

import numpy as np
import pytest

from funneltune.cli import main
from funneltune.data import Asked
from funneltune.decisions.explanations import Explanation
from funneltune.errors import RunError
from funneltune.serving import make_app, open_runs
from made_up import Client, told

TRAIN = [
    *("backbone=tiny", "head=esmm", "objective=entire_space_bce", "tuning=full", "baselines=[]", "logger=none"),
    *("data.source.impressions=600", "data.source.items=60", "data.source.queries=20", "data.source.shoppers=40"),
    *("trainer.max_steps=2", "trainer.enable_progress_bar=false", "trainer.precision=32-true", "+data.leaks=ignore"),
]

RANKINGS = {
    "purchases": {"by": "ctcvr"},
    "varied": {"diversity": {"weight": 0.5}},
    "sellers": {"exposure": {"column": "seller", "target": "merit"}},
    "no such column": {"rules": {"at_most": {"colour": 1}}},
    "no such way": {"candidates": "prophecy"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    assert main(["train", f"run_dir={folder / 'one'}", f"data.cache_dir={folder / 'cache'}", *TRAIN]) == 0
    return folder / "one"


@pytest.fixture(scope="module")
def opened(run):
    return open_runs(run, run, rankings=RANKINGS)


@pytest.fixture(scope="module")
def client(opened):
    runs, choices = opened
    client = Client(make_app(runs, choices))
    yield client
    assert client.exchange.models.stop()


def test_lists_hold_what_the_scorer_says(client, opened):
    scorer = opened[0][0].scorer
    query = next(iter(scorer.rows.queries))
    p = scorer.score([Asked(query=query)], [None])[0]
    ranked = client.post("/rank", {"query": query, "by": "ctr", "top": 60}).json()["ranked"]
    assert len(ranked) == 60
    for one in ranked:
        number = scorer.catalogue.number(one["item"])
        assert one["p"] == {rate: pytest.approx(values[number], rel=1e-5) for rate, values in p.items()}
        assert one["title"] == scorer.catalogue.titles[number]
        assert one["price"] == scorer.catalogue.price[number]
        assert set(one["about"]) == {"brand", "category", "seller", "product_type", "rating"}
    assert [one["value"] for one in ranked] == sorted((one["value"] for one in ranked), reverse=True)


def test_pairs_score_as_lists_do(client):
    ranked = client.post("/rank", {"query": "red shoes", "top": 3}).json()["ranked"]
    pairs = [{"query": "red shoes", "item": one["item"]} for one in ranked]
    scores = client.post("/score", {"pairs": pairs}).json()["scores"]
    for one, p in zip(ranked, scores, strict=True):
        assert p == {rate: pytest.approx(value, rel=1e-5) for rate, value in one["p"].items()}


@pytest.mark.parametrize("way", ["hybrid", "lexical", "semantic", "collaborative", "popular"])
def test_every_way_of_finding_candidates_is_offered_and_answers(client, way):
    found = client.get("/runs").json()["runs"][0]
    assert found["candidates"][0] == "all"  # few items: all compete
    assert way in found["candidates"]
    answer = client.post("/rank", {"query": "red shoes", "candidates": way})
    assert answer.status_code == 200
    assert answer.json()["candidates"] == way


def test_the_run_is_told_as_its_record_has_it(client, run):
    a, b = client.get("/runs").json()["runs"]
    assert (a["tuning"], a["head"], a["calibration"], a["items"]) == ("full", "ESMM", "none", 60)
    assert a["labels"] == {"ctr": "p(click)", "cvr": "p(purchase | click)", "ctcvr": "p(click and purchase)"}
    assert a["by"] == ["ctr", "cvr", "ctcvr", "revenue"]
    assert (a["rankings"], a["calibrations"]) == (["purchases", "varied", "sellers"], ["none"])
    assert (a["reads_query"], a["reads_user"]) == (True, False)
    assert "ctr/auc" in a["metrics"]
    assert not any("[" in key for key in a["metrics"])
    assert a["name"] == b["name"] == f"one ({run})"  # two of one name are told apart by their paths


def test_an_explanation_is_whole_and_names_no_path_of_this_machine(client, run):
    item = client.post("/rank", {"query": "red shoes", "top": 1}).json()["ranked"][0]
    answer = client.post("/explain", {"query": "red shoes", "item": item["item"], "rate": "ctr"})
    found = Explanation.from_json(answer.json())
    assert found.completeness.complete
    assert found.p["ctr"] == pytest.approx(item["p"]["ctr"], rel=1e-4)
    assert [word.text for word in found.words if word.role == "query"] == ["red", "shoes"]
    assert str(run.parent) not in answer.text


def test_the_log_suggests_its_queries_and_shoppers(client, opened):
    found = client.get("/suggest", params={"most": 100}).json()
    assert len(found["queries"]) == len(opened[0][0].scorer.rows.queries)
    counts = [one["requests"] for one in found["queries"]]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == 600 / 20
    assert set(found["users"][0]["about"]) <= {"segment", "age_band", "price_sensitivity", "favourite_category"}


def test_probabilities_are_numbers_between_0_and_1_for_words_of_any_kind(client):
    for query in ("x", "Ω≈ç√∫ 😀", "ﷺ" * 200, "shoes " * 150):
        ranked = client.post("/rank", {"query": query}).json()["ranked"]
        values = np.array([list(one["p"].values()) for one in ranked])
        assert ((values > 0) & (values < 1)).all()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=re.escape(str(tmp_path))):
        open_runs(tmp_path)


def test_an_unknown_calibration_is_refused(run):
    with pytest.raises(RunError, match="calibration=odd must be none or one of"):
        open_runs(run, calibration="odd")


def test_without_captum_no_explanation_is_offered(run, monkeypatch):
    monkeypatch.setattr("funneltune.serving.opening.find_spec", lambda name: None)
    runs, choices = open_runs(run)
    client = Client(make_app(runs, choices))
    assert client.get("/runs").json()["runs"][0]["explains"] is False
    assert "cannot be explained" in told(client.post("/explain", {"query": "x", "item": runs[0].keys[0]}))
    client.exchange.models.stop()


def test_a_way_that_needs_a_missing_package_is_left_out(run, monkeypatch):
    from funneltune.decisions.candidates import Collaborative
    from funneltune.errors import ConfigError

    def missing(scorer):
        raise ConfigError("collaborative: needs a package that is not installed: pip install 'funneltune[retrieve]'.")

    monkeypatch.setattr(Collaborative, "of", missing)
    monkeypatch.setitem(__import__("funneltune.decisions.finding", fromlist=["WAYS"]).WAYS, "collaborative", missing)
    runs, _ = open_runs(run)
    assert list(runs[0].ways) == ["lexical", "semantic", "popular"]
