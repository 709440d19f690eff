"""Lists as `funneltune rank` makes them: named rankings, and what a request changes of them."""

import numpy as np
import pytest

from funneltune.data import Asked
from funneltune.decisions import Ranking, Recommender, Request
from funneltune.serving import rankings as module
from made_up import Scorer, Way, served, told

NAMED = {
    "brands": {"top": 3, "rules": {"at_most": {"brand": 1}}},
    "found": {"candidates": "some"},
    "alike": {"diversity": {"weight": 0.2, "by": ["brand"]}},
}
BODY = {"query": "shoes"}


class Vectors(Scorer):
    """Items of one brand are alike."""

    item_vectors = np.array([[1.0, 0.0], [0.0, 1.0]] * 3, dtype=np.float32)


@pytest.fixture
def client(serve):
    return serve(served(Vectors(), named=NAMED, ways={"some": Way([4, 2]), "few": Way([1])}))


def ranked(client, **more):
    answer = client.post("/rank", {**BODY, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["ranked"]


SETTINGS = [
    {},
    {"by": "0.2*ctr + 0.8*cvr", "top": 4},
    {"diversity": {"weight": 0.3}},
    {"diversity": {"weight": 0.3, "by": "brand", "pool": 3}},
    {"rules": {"price": [15, 45]}},
    {"rules": {"price": [None, 30], "boost": {"brand": {"Brio": 5, "Quill": 0.5}}}},
    {"rules": {"only": {"brand": ["Brio"]}, "without": {"key": ["i2"]}}},
    {"rules": {"at_most": {"brand": 2}, "pinned": ["i3", "i5"]}},
    {"rules": {"stock": "stars"}},
    {"exposure": {"column": "brand", "target": {"Brio": 0.75}}, "top": 4},
    {"exposure": {"column": "brand", "target": "merit"}},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_list_is_the_page_of_the_same_ranking(client, settings):
    ranking = Ranking.from_config({"top": 20, **settings})
    page = Recommender(Vectors(), ranking).page(Request("", Asked(**BODY)))
    found = ranked(client, **settings)
    assert [one["item"] for one in found] == [f"i{n}" for n in page.items]
    assert [one["value"] for one in found] == pytest.approx(page.value.tolist())
    assert [one["before"] for one in found] == page.before.tolist()
    assert [one["why"] for one in found] == list(page.why)


def test_a_pin_may_have_its_place_and_says_so(client):
    found = ranked(client, rules={"pinned": {"2": "i4"}})
    assert (found[1]["item"], found[1]["why"]) == ("i4", "pinned")
    assert ranked(client, candidates="few", rules={"pinned": ["i0"]})[0]["item"] == "i0"  # though no way finds it


def test_what_rules_drop_is_told(client):
    answer = client.post("/rank", {**BODY, "rules": {"price": [35, None], "only": {"brand": ["Brio"]}}}).json()
    assert (answer["competed"], answer["dropped"]) == (6, "price drops 4, only brand drops 3")
    assert [one["item"] for one in answer["ranked"]] == ["i4"]
    none = client.post("/rank", {**BODY, "items": ["i1"], "rules": {"only": {"brand": ["Brio"]}}}).json()
    assert (none["ranked"], none["dropped"]) == ([], "only brand drops 1")


def test_a_named_ranking_is_told_and_its_settings_hold_until_a_request_changes_them(client):
    answer = client.post("/rank", {**BODY, "ranking": "brands"}).json()
    assert (answer["ranking"], len(answer["ranked"])) == ("brands", 2)
    assert len(ranked(client, ranking="brands", rules={"at_most": {"brand": 2}})) == 3
    assert len(ranked(client, ranking="brands", rules=None, top=5)) == 5
    assert len(ranked(client, ranking="brands", rules={"price": [15, 55]})) == 2  # rules join
    assert client.post("/rank", {**BODY, "ranking": "found"}).json()["candidates"] == "some"
    assert client.post("/rank", {**BODY, "ranking": "found", "candidates": "all"}).json()["candidates"] == "all"
    assert client.get("/runs").json()["runs"][0]["rankings"] == list(NAMED)
    whys = {one["why"] for n in range(5) for one in ranked(client, query=f"words {n}", ranking="alike")}
    assert "diversity" in whys
    assert "ranking='brand' must be one of brands, found, alike." in told(
        client.post("/rank", {**BODY, "ranking": "brand"})
    )


def test_without_named_rankings_none_can_be_asked_for(serve):
    assert told(serve().post("/rank", {**BODY, "ranking": "varied"})) == "ranking: none is served."


def test_a_request_may_ask_for_another_calibration_and_has_its_own_batch(serve):
    own, other = Scorer(), Scorer("platt")
    client = serve(served(own, calibrations={"platt": other}))
    assert client.get("/runs").json()["runs"][0]["calibrations"] == ["platt"]
    assert ranked(client)[0]["value"] != ranked(client, calibration="platt")[0]["value"]
    assert (own.batches, other.batches) == ([1], [1])


def test_rankings_stand_ready_and_the_oldest_makes_room(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    rankings = served().rankings
    asked = [module.RankRequest(query=f"words {n}", top=n) for n in (1, 2, 3)]
    first = rankings.of(asked[0])
    assert rankings.of(module.RankRequest(query="other words", top=1, run="b")) is first
    rankings.of(asked[1])
    assert rankings.of(asked[0]) is first
    rankings.of(asked[2])
    assert rankings.of(asked[0]) is first
    assert len(rankings._ready) == 2
