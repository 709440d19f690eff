import json
from dataclasses import replace

import numpy as np
import pytest

from funneltune.errors import DataError
from funneltune.metrics import against_baselines, clusters_in, compact, judge, pair, paired_interval, resample
from funneltune.metrics.comparison import Comparison, has_direction, higher_is_better


@pytest.fixture
def both(funnel, columns):
    worse = {**columns, "p_click": np.random.default_rng(0).permutation(columns["p_click"])}
    return compact(columns, funnel), compact(worse, funnel)


@pytest.mark.parametrize("metric", ["ctr/auc", "ctr/expected_auc", "ctr/ndcg@10", "ctr/mrr", "ctr/expected_log_loss"])
def test_a_better_run_is_called_better_and_the_other_worse(both, metric):
    for first, second, verdict in ((*both, "better"), (*both[::-1], "worse")):
        (found,) = judge([pair([first], [second], metric, "a", "b")])
        assert found.verdict == verdict
        assert found.value - found.baseline_value == pytest.approx(found.difference, abs=1e-6)


def test_a_lower_log_loss_is_better(both):
    (found,) = judge([pair([both[0]], [both[1]], "ctr/log_loss", "a", "b")])
    assert found.difference < 0
    assert found.verdict == "better"


def test_equal_runs_make_no_claim(both):
    (found,) = judge([pair([both[0]], [both[0]], "ctr/auc", "a", "b")])
    assert (found.verdict, found.difference, found.p_value) == ("no claim", 0.0, 1.0)


def test_holm_takes_a_claim_away_that_would_stand_alone():
    one = Comparison("ctr/auc", "b", "a", "no claim", difference=0.1, p_value=0.03)
    assert judge([one])[0].verdict == "better"
    assert {c.verdict for c in judge([one, one])} == {"no claim"}


def test_a_note_or_an_unknown_spread_claims_nothing():
    sure = Comparison("ctr/auc", "b", "a", "no claim", note="one seed", difference=0.1, p_value=1e-9)
    assert judge([sure])[0].verdict == "no claim"
    unknown = Comparison("ctr/auc", "b", "a", "no claim", difference=0.1)
    assert judge([unknown])[0].note == "the spread is unknown"


def test_a_run_is_held_against_every_baseline_on_its_rows(funnel, columns):
    rng = np.random.default_rng(0)
    scores = {"bm25": rng.random(3000), "cosine": columns["p_click"]}
    statistics = compact(columns, funnel, scores=scores)
    found = against_baselines(statistics, "mine", ["ctr/auc", "ctr/ndcg@10", "ctr/log_loss"])
    assert [(c.metric, c.baseline, c.verdict) for c in found] == [
        ("ctr/auc", "bm25", "better"),
        ("ctr/auc", "cosine", "no claim"),
        ("ctr/ndcg@10", "bm25", "better"),
        ("ctr/ndcg@10", "cosine", "no claim"),
    ]
    json.dumps([c.to_json() for c in found], allow_nan=False)


def test_an_unknown_metric_is_refused_with_those_there_are(both):
    with pytest.raises(DataError, match=r"metric 'ctr/no_such' is not in the statistics; there are: ctr/auc"):
        paired_interval([both[0]], [both[1]], "ctr/no_such")


def test_other_requests_are_refused(both):
    moved = {**both[1], "request": both[1]["request"] + 1}
    with pytest.raises(DataError, match="tested on different rows"):
        paired_interval([both[0]], [moved], "ctr/auc")


def test_which_way_is_better_follows_from_the_metrics_name():
    assert higher_is_better("ctr/auc")
    assert not any(higher_is_better(f"ctr/{name}") for name in ("log_loss", "ece", "log_loss[item_cold=1]"))
    assert not any(higher_is_better(f"cvr_entire/{name}") for name in ("expected_log_loss", "expected_ece"))


@pytest.mark.parametrize("metric", ["cvr_entire/predicted_over_true", "ctr/predicted_over_observed"])
def test_neither_side_of_a_metric_that_is_best_at_one_is_called_better(metric):
    assert not has_direction(metric)
    assert has_direction("ctr/auc")
    sure = Comparison(metric, "b", "a", "no claim", difference=0.1, p_value=1e-9)
    (found,) = judge([sure])
    assert (found.verdict, found.note, found.p_holm) == ("no claim", "best at 1", 1e-9)
    assert judge([replace(sure, note="one seed")])[0].note == "one seed"


def test_a_claim_on_a_headline_auc_needs_delong_and_bootstrap(both):
    found = pair([both[0]] * 2, [both[1]] * 2, "ctr/auc", "a", "b", confirm=True)
    assert found.bootstrap_p == pytest.approx(found.p_value, abs=1e-3)
    assert judge([found])[0].verdict == "better"
    for p, bootstrap_p in ((0.001, 0.06), (0.06, 0.001)):
        (judged,) = judge([replace(found, p_value=p, bootstrap_p=bootstrap_p)])
        assert (judged.verdict, judged.note) == ("no claim", "DeLong and bootstrap disagree")
    assert pair([both[0]], [both[1]], "ctr/ndcg@10", "a", "b", confirm=True).bootstrap_p is None


def test_the_bootstraps_p_values_are_corrected_as_a_family_too():
    one = Comparison("ctr/auc", "b", "a", "no claim", difference=0.1, p_value=0.01, bootstrap_p=0.03)
    assert judge([one])[0].verdict == "better"
    assert {c.note for c in judge([one, one])} == {"DeLong and bootstrap disagree"}


@pytest.mark.parametrize("metric", ["ctr/auc", "ctr/log_loss", "ctr/ndcg@10"])
def test_seeds_of_other_requests_or_another_log_are_not_taken_for_the_same_rows(both, metric):
    first, second = both
    again = [{**statistics, "request": statistics["request"] + 1000} for statistics in both]
    sides = ([first, again[0]], [second, again[1]])
    assert pair(*sides, metric, "a", "b", test_over_train=0.5).method == "corrected resampled t"
    assert pair(*sides, metric, "a", "b").method == "t over seeds"
    same = ([first, first], [second, second])
    assert "t over" not in pair(*same, metric, "a", "b").method
    assert pair(*same, metric, "a", "b", logs=["one", "other"]).method == "t over seeds"


def test_draws_that_are_at_hand_give_the_interval_that_own_draws_give(both):
    drawn = resample(clusters_in(both, "ctr/ndcg@10"))
    given = pair([both[0]], [both[1]], "ctr/ndcg@10", "a", "b", drawn=(drawn[:1], drawn[1:]))
    assert given == pair([both[0]], [both[1]], "ctr/ndcg@10", "a", "b")
