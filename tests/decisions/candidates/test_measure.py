"""Ways of finding items held against what is known of them: by hand, and on a run."""

import json

import numpy as np
import pytest

from funneltune.cli import main
from funneltune.data import Asked
from funneltune.decisions import Scorer
from funneltune.decisions.candidates import Found, Reranked, Semantic
from funneltune.decisions.candidates.hybrid import standardised
from funneltune.decisions.candidates.measure import Judged, known, measure_retrieval, measured, recall_curve
from funneltune.decisions.candidates.named import Remembered, ways_of
from funneltune.decisions.finding import candidates_of
from funneltune.errors import ConfigError

SMALL = [
    "backbone=tiny",
    "tuning=lora",
    "data.source.impressions=1000",
    "data.source.items=120",
    "data.source.queries=40",
    "data.source.shoppers=30",
    "data.source.ctr=0.3",
    "trainer.precision=32-true",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]
EVERY = ["lexical", "semantic", "bare", "collaborative", "als", "popular", "hybrid", "convex", "ranked", "blended"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, kept_logs):
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main(["train", f"run_dir={folder}", kept_logs, *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def scorer(run):
    return Scorer.of_run(run)


def test_values_by_hand():
    judged = [
        Judged(np.array([2, 5, 9]), np.array([3.0, 0.0, 1.0]), np.array([True, False, True])),
        Judged(np.array([4]), np.array([0.0]), np.array([False])),
    ]
    numbers = np.full((2, 12), -1)
    numbers[0, :4] = [7, 9, 5, 2]  # 7 was never judged
    found = measured(Found(numbers, np.zeros((2, 12))), judged, 10)
    ideal = 3 + 1 / np.log2(3)
    assert found["ndcg@10"][0] == pytest.approx((1 / np.log2(3) + 3 / np.log2(5)) / ideal)
    assert found["condensed_ndcg@10"][0] == pytest.approx((1 + 3 / np.log2(4)) / ideal)
    assert found["recall@10"][0] == 1.0
    assert all(np.isnan(values[1]) for values in found.values())
    assert recall_curve(Found(numbers, numbers), judged, 5).tolist() == [0, 0.5, 0.5, 1, 1]


def test_an_item_that_is_not_found_cannot_count():
    judged = [Judged(np.array([2]), np.array([1.0]), np.array([True]))]
    nothing = Found(np.full((1, 10), -1), np.full((1, 10), -np.inf))
    assert [float(values[0]) for values in measured(nothing, judged, 10).values()] == [0.0, 0.0, 0.0]


def test_every_way_is_measured_and_the_last_held_against_each_other(scorer):
    record = measure_retrieval(scorer, ways_of(scorer, EVERY, depth=40), k=30)
    assert {name.partition("/")[0] for name in record.numbers} == set(EVERY)
    for told in record.numbers.values():
        if told["value"] > 0:  # where every request has a 0 there is no spread to speak of
            assert told["low"] <= told["value"] <= told["high"]
        assert told["protocol"]["requests"] + told["protocol"]["skipped"] == record.settings["requests"]
    rows = record.tables["against the others"]["rows"]
    assert [(row[0], row[2]) for row in rows if row[0] == "recall@30"] == [("recall@30", way) for way in EVERY[:-1]]
    for _, way, against, difference, *_ in [row for row in rows if row[0] == "ndcg@10"]:
        values = [record.numbers[f"{one}/ndcg@10"]["value"] for one in (way, against)]
        assert difference == pytest.approx(values[0] - values[1])
    table = record.tables["recall by length"]
    curves = dict(zip(table["columns"], zip(*table["rows"], strict=True), strict=True))
    assert all(list(curve) == sorted(curve) and len(curve) == 30 for curve in curves.values())
    assert curves["hybrid"][-1] == pytest.approx(record.numbers["hybrid/recall@30"]["value"], abs=1e-5)


def test_hybrid_alone_is_what_rank_calls_so(scorer):
    asked, _ = known(scorer, "test", 4)
    here, there = ways_of(scorer, ["hybrid"])["hybrid"].find(asked, 20), candidates_of(scorer, "hybrid").find(asked, 20)
    np.testing.assert_array_equal(here.numbers, there.numbers)
    np.testing.assert_array_equal(here.scores, there.scores)


def test_the_last_place_is_decided_by_the_run_or_by_both(scorer):
    asked, _ = known(scorer, "test", 5)
    first = Remembered(Semantic.of(scorer))
    found, said = first.find(asked, 20), scorer.score(asked, list(first.find(asked, 20).numbers))
    alone, both = Reranked(first, scorer, "ctr", 20), Reranked(first, scorer, "ctr", 20, 0.3)
    for row in range(5):
        p = said[row]["ctr"]
        order = np.argsort(-p, kind="stable")
        assert alone.find(asked, 20).numbers[row].tolist() == found.numbers[row][order].tolist()
        mixed = 0.3 * standardised(np.log(p / (1 - p))) + 0.7 * standardised(found.scores[row])
        np.testing.assert_allclose(both.find(asked, 20).scores[row], np.sort(mixed)[::-1], rtol=1e-9)
    longer, whole = alone.find(asked, 25), first.find(asked, 25).numbers[:, 20:]
    np.testing.assert_array_equal(longer.numbers[:, 20:], whole)  # behind the ranked ones, as they were
    assert (np.diff(longer.scores) <= 0).all()
    assert standardised(np.ones(3)).tolist() == [0.0] * 3


def test_what_one_weight_has_scored_another_does_not_score_again(scorer, monkeypatch):
    asked, _ = known(scorer, "test", 3)
    ranked = Reranked(Semantic.of(scorer), scorer, depth=5)
    ranked.find(asked, 5)
    monkeypatch.setattr(scorer, "score", lambda *_: pytest.fail("scored again"))
    assert (ranked.weighed(0.5).find(asked, 5).numbers >= 0).all()


def test_the_command_prints_and_writes_a_record_and_a_picture(run, tmp_path, capsys):
    words = [f"run={run}", "ways=lexical,semantic,hybrid,ranked", "k=20", "most=3", "split=validation"]
    assert main(["retrieve", *words, f"output={tmp_path / 'out'}"]) == 0
    assert "recall@20" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "decision.json").read_text())
    assert record["settings"]["ranker"] == str(run)
    assert record["settings"]["by"] == "ctcvr"
    assert record["settings"]["requests"] == 3
    assert (tmp_path / "out" / "recall.png").stat().st_size > 5000
    assert main(["retrieve", f"run={run}", f"output={tmp_path / 'out'}"]) == 2
    assert "exists; name another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ways=lexicl"], "ways='lexicl' must be one of lexical, semantic, bare, collaborative, als, popular, hybrid"),
        (["ways=lexical,lexical"], "ways: 'lexical' stands twice"),
        (["ways=ranked"], "ways: ranked fuses single ways, and none is named"),
        (["ways=hybrid,convex"], "ways: convex fuses single ways, and none is named"),
        (["ways=hybrid", "weights=lexical:2"], "ways: hybrid fuses single ways, and none is named"),
        (["split=train"], "split='train' must be one of validation, test"),
        (["k=9"], "k=9 must be >= 10"),
        (["k=many"], "k=many must be a whole number, 1 or more"),
        (["depth=0"], "depth=0 must be a whole number, 1 or more"),
        (["ways=lexical,ranked", "by=ctvr"], "by='ctvr' must be one of ctr, cvr, ctcvr"),
        (["ways=lexical,blended", "weight=2"], "weight=2.0 must lie in [0, 1]"),
        (["weight=half"], "weight=half must be a number"),
        (["weights=lexical:much"], "weights: lexical=much must be a number"),
        (["ways=lexical", "weights=lexical:2"], "weights: say how much single ways count where they are fused"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, capsys, words, told):
    assert main(["retrieve", f"run={run}", *words]) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


def test_wrong_numbers_are_refused_from_python_too(scorer):
    with pytest.raises(ConfigError, match="depth=0 must be >= 1"):
        Reranked(Semantic.of(scorer), scorer, depth=0)
    with pytest.raises(ConfigError, match="encoder='tuned' must be one of run, bare"):
        Semantic.of(scorer, "tuned")
    with pytest.raises(ConfigError, match="ways: there is none to measure"):
        measure_retrieval(scorer, {})
    assert Remembered(Semantic.of(scorer)).find([Asked("red")], 3).numbers.shape == (1, 3)
