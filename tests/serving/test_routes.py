"""Every route, asked rightly and wrongly in what it means."""

import numpy as np
import pytest

from funneltune.errors import RunError
from funneltune.serving import require_one_log
from funneltune.serving.wire import RankAnswer, Runs, ScoreAnswer, Suggestions
from made_up import RATES, Scorer, Way, served, told


def order(answer):
    return [one["item"] for one in answer.json()["ranked"]]


def test_a_list_is_all_items_by_the_last_rate_with_what_the_scorer_says(serve):
    scorer = Scorer()
    answer = serve(served(scorer)).post("/rank", {"query": "shoes"})
    body = RankAnswer.model_validate_json(answer.content)
    asked = type("Asked", (), {"query": "shoes", "user": "", "time": None})
    p = scorer.of(asked, np.arange(6))
    assert [one.item for one in body.ranked] == [f"i{n}" for n in np.argsort(-p["ctcvr"], kind="stable")]
    assert (body.run, body.by, body.candidates, body.competed) == ("a", "ctcvr", "all", 6)
    for place, one in enumerate(body.ranked, start=1):
        number = int(one.item[1:])
        assert one.place == place
        assert one.p == {rate: p[rate][number] for rate in RATES}
        assert one.value == p["ctcvr"][number]
        assert one.price == (None if number == 5 else 10.0 * (number + 1))
        assert one.about == {"brand": ["Brio", "Quill"][number % 2]}


def test_the_order_may_be_by_any_rate_by_revenue_or_by_a_sum(serve):
    client = serve()
    priced = {"query": "shoes", "items": [f"i{n}" for n in range(5)]}
    lists = {by: client.post("/rank", {**priced, "by": by}).json()["ranked"] for by in ("cvr", "revenue")}
    assert [one["value"] for one in lists["cvr"]] == sorted((one["p"]["cvr"] for one in lists["cvr"]), reverse=True)
    revenue = {one["item"]: one["price"] * one["p"]["ctcvr"] for one in lists["revenue"]}
    assert [one["value"] for one in lists["revenue"]] == pytest.approx(sorted(revenue.values(), reverse=True))
    summed = client.post("/rank", {"query": "shoes", "by": "0.5*ctr + 2*cvr"}).json()["ranked"]
    assert all(one["value"] == pytest.approx(0.5 * one["p"]["ctr"] + 2 * one["p"]["cvr"]) for one in summed)
    assert "did you mean 'ctr'?" in told(client.post("/rank", {"query": "shoes", "by": "ctrr"}))
    unpriced = client.post("/rank", {"query": "shoes", "by": "revenue"})
    assert "by=revenue needs the price of every candidate, and the log has items without one" in told(unpriced)
    assert client.get("/runs").json()["runs"][0]["by"] == list(RATES)
    scorer = Scorer()
    scorer.catalogue.price[5] = 60.0
    assert serve(served(scorer)).get("/runs").json()["runs"][0]["by"] == [*RATES, "revenue"]


def test_candidates_are_those_given_or_found(serve):
    client = serve()
    given = client.post("/rank", {"query": "shoes", "items": ["i3", "i3"]})
    assert (order(given), given.json()["candidates"], given.json()["competed"]) == (["i3"], "given", 1)
    assert sorted(order(client.post("/rank", {"query": "shoes", "candidates": "some"}))) == ["i2", "i4"]
    assert len(order(client.post("/rank", {"query": "shoes", "top": 2}))) == 2


def test_without_candidates_named_the_default_of_the_run_finds_them(serve):
    few = served(sees_all=False, ways={"some": Way([1]), "more": Way([1, 2])})
    assert serve(few).post("/rank", {"query": "shoes"}).json()["candidates"] == "some"
    assert few.as_json()["candidates"] == ["some", "all", "more"]


def test_shoppers_and_times_reach_the_scorer(serve):
    client = serve()
    values = {
        client.post("/rank", {"query": "shoes", "items": ["i0"], **more}).json()["ranked"][0]["value"]
        for more in ({}, {"user": "ann"}, {"time": 1.5})
    }
    assert len(values) == 3


def test_scores_come_in_the_order_of_the_pairs(serve):
    scorer = Scorer()
    pairs = [{"query": "shoes", "item": "i1"}, {"query": "lamp", "item": "i0"}, {"query": "shoes", "item": "i2"}]
    answer = serve(served(scorer)).post("/score", {"pairs": pairs})
    body = ScoreAnswer.model_validate_json(answer.content)
    for pair, p in zip(pairs, body.scores, strict=True):
        asked = type("Asked", (), {"query": pair["query"], "user": "", "time": None})
        wanted = scorer.of(asked, [int(pair["item"][1:])])
        assert p == {rate: values[0] for rate, values in wanted.items()}
    assert scorer.batches == [2]


def test_explanations_are_of_one_item_and_rate(serve):
    client = serve(served(), served(side="b", explain=None))
    wanted = {"query": "shoes", "item": "i2", "rate": "ctr"}
    assert client.post("/explain", wanted).json() == {"sentence": "shoes 2 ctr"}
    assert client.post("/explain", {"query": "shoes", "item": "i2"}).json()["sentence"].endswith("ctcvr")
    assert told(client.post("/explain", {**wanted, "run": "b"})).startswith("run=b cannot be explained")
    assert "rate='cr' must be one of ctr, cvr, ctcvr" in told(client.post("/explain", {**wanted, "rate": "cr"}))
    assert "item='i7' is none of the log's 6 items" in told(client.post("/explain", {**wanted, "item": "i7"}))


def test_what_is_served_is_told(serve):
    runs = Runs.model_validate_json(serve(served(), served(Scorer("b"), "b")).get("/runs").content).runs
    assert [run.name for run in runs] == ["run a", "run b"]
    assert (runs[0].by, runs[0].rankings, runs[0].candidates) == (list(RATES), [], ["all", "some"])
    assert runs[0].metrics == {"ctr/auc": 0.7, "cvr/auc": None}
    assert (runs[0].calibration, runs[0].items, runs[0].explains) == ("platt", 6, True)


def test_two_runs_answer_each_for_itself(serve):
    client = serve(served(Scorer("a")), served(Scorer("b"), "b"))
    a, b = (client.post("/rank", {"query": "shoes", "run": run}).json() for run in "ab")
    assert (a["run"], b["run"]) == ("a", "b")
    assert [one["value"] for one in a["ranked"]] != [one["value"] for one in b["ranked"]]
    alone = serve()
    assert "run='b' must be one of a" in told(alone.post("/rank", {"query": "shoes", "run": "b"}))


def test_suggestions_are_the_most_frequent_first_and_hold_what_was_typed(serve):
    client = serve()
    every = Suggestions.model_validate_json(client.get("/suggest").content)
    assert [(one.key, one.requests, one.about) for one in every.queries] == [
        ("shoes", 2, {"category": "feet"}),
        ("lamp", 1, {"category": "light"}),
    ]
    assert [(one.key, one.requests, one.about) for one in every.users] == [
        ("bob", 2, {"segment": ""}),
        ("ann", 1, {"segment": "loyal"}),
    ]
    assert [one["key"] for one in client.get("/suggest", params={"query": "AM"}).json()["queries"]] == ["lamp"]
    assert client.get("/suggest", params={"most": 1}).json()["users"][0]["key"] == "bob"
    assert client.get("/suggest", params={"query": "\x00"}).json()["queries"] == []


def test_words_are_needed_where_the_run_reads_them(serve):
    assert "query='' is empty" in told(serve().post("/rank", {"query": " "}))
    assert "pairs[0].query='' is empty" in told(serve().post("/score", {"pairs": [{"item": "i0"}]}))
    assert serve(served(reads_query=False)).post("/rank", {"user": "ann"}).status_code == 200


def test_a_mistake_that_the_model_finds_is_told_and_its_neighbours_are_answered(serve):
    client = serve()
    wrong, right = client.together({"query": "wrong words"}, {"query": "shoes"})
    assert (wrong.status_code, right.status_code) == (422, 200)
    assert told(wrong) == "query='wrong words' is not to be had; ask otherwise."


def test_the_page_and_its_parts_are_served_with_their_types(serve):
    client = serve()
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" in page.text
    assert "style=" not in page.text
    for name in ("page.css", "page.js", "favicon.svg"):
        assert client.get(f"/{name}").status_code == 200
    for name in ("combo", "diff", "dom", "explained", "lists", "server", "why"):
        found = client.get(f"/{name}.js")
        assert found.headers["content-type"].startswith("text/javascript")
        assert "http" not in found.text.replace("http://www.w3.org/2000/svg", "")


def test_openapi_tells_every_route_and_its_limits(serve):
    told = serve().get("/openapi.json").json()
    assert set(told["paths"]) == {"/rank", "/score", "/explain", "/runs", "/suggest", "/health", "/metrics"}
    rank = told["components"]["schemas"]["RankRequest"]["properties"]
    assert rank["top"]["anyOf"][0]["maximum"] == 1000
    assert rank["query"]["maxLength"] == 1000
    assert set(told["paths"]["/rank"]["post"]["responses"]) >= {"200", "400", "413", "422", "503", "504"}


def test_runs_of_other_logs_are_refused_in_one_line():
    with pytest.raises(RunError, match=r"run_b=run b was trained on another log than run=run a: 6 items and 4; serve"):
        require_one_log(served(), served(Scorer(keys=["i0", "i1", "i2", "i3"]), "b"))
    with pytest.raises(RunError, match=r"item 1 is 'i1' in the one and 'x' in the other"):
        require_one_log(served(), served(Scorer(keys=["i0", "x", "i2", "i3", "i4", "i5"]), "b"))
    require_one_log(served(), served(Scorer("b"), "b"))
