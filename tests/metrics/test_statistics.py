import numpy as np
import pytest

from funneltune.errors import DataError, RunError
from funneltune.metrics import (
    StoredStatistics,
    clusters_in,
    compact,
    evaluate,
    metric_keys,
    read_statistics,
    score_metrics,
    scorers,
    write_statistics,
)


def mean_of(statistics, key):
    if f"{key}:positives" in statistics:
        return statistics[f"{key}:among_negatives"].sum() / statistics[f"{key}:positives"].sum()
    if f"{key}:sum" in statistics:
        return statistics[f"{key}:sum"].sum() / statistics[f"{key}:weight"].sum()
    return clusters_in([statistics], key)[0].value


def test_the_statistics_give_back_every_metric_they_stand_for(funnel, columns):
    statistics, found = compact(columns, funnel, ks=(5,)), evaluate(columns, funnel, ks=(5,))
    keys = metric_keys(statistics)
    assert {"cvr/auc", "cvr_entire/expected_auc", "ctcvr/ndcg@5", "ctr/mrr", "ctcvr/expected_purchases@5"} <= set(keys)
    assert {f"{entire}/expected_log_loss" for entire in ("ctr", "cvr_entire", "ctcvr")} <= set(keys)
    for key in keys:
        assert mean_of(statistics, key) == pytest.approx(found[key]["value"], abs=1e-6), key


def test_baselines_lie_beside_the_run_under_their_names(funnel, columns):
    score = columns["p_click"][::-1].copy()
    statistics = compact(columns, funnel, scores={"bm25": score})
    assert scorers(statistics) == ("bm25",)
    found = score_metrics(columns, funnel, score)
    for key in ("ctcvr/auc", "ctcvr/ndcg@10"):
        assert mean_of(statistics, f"bm25|{key}") == pytest.approx(found[key]["value"], abs=1e-6)


def test_graded_ndcg_is_kept_both_ways(funnel, columns):
    columns["grade"] = np.random.default_rng(0).integers(1, 4, 3000).astype(np.float32)
    columns["grade"][:10] = 2
    statistics, found = compact(columns, funnel), evaluate(columns, funnel)
    for key in ("grade/ndcg@10", "grade/ndcg_discriminating@10"):
        assert mean_of(statistics, key) == pytest.approx(found[key]["value"], abs=1e-6)


def test_clusters_may_be_users_and_then_hold_no_list_metric(funnel, columns):
    statistics = compact(columns, funnel, clusters="user")
    assert len(statistics["user"]) == len(np.unique(columns["user"]))
    assert not any("ndcg" in key for key in metric_keys(statistics))


def test_they_are_small(funnel, columns, tmp_path):
    path = write_statistics(tmp_path / "statistics.npz", compact(columns, funnel))
    assert path.stat().st_size < 300 * 220  # bytes per request


def test_the_same_arrays_are_the_same_bytes(funnel, columns, tmp_path):
    one = write_statistics(tmp_path / "a.npz", compact(columns, funnel)).read_bytes()
    assert write_statistics(tmp_path / "b.npz", compact(columns, funnel)).read_bytes() == one


def test_they_are_read_as_they_were_written(funnel, columns, tmp_path):
    statistics = compact(columns, funnel)
    back = read_statistics(write_statistics(tmp_path / "new" / "statistics.npz", statistics))
    assert list(back) == list(statistics)
    assert all(np.array_equal(back[key], statistics[key]) for key in statistics)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["statistics.npz"]


def test_members_are_read_when_they_are_asked_for(funnel, columns, tmp_path):
    statistics = compact(columns, funnel)
    stored = StoredStatistics(write_statistics(tmp_path / "statistics.npz", statistics))
    assert (len(stored), list(stored)) == (len(statistics), list(statistics))
    assert "ctr/auc:positives" in stored
    assert metric_keys(stored) == metric_keys(statistics)
    assert np.array_equal(stored["ctr/auc:positives"], statistics["ctr/auc:positives"])
    with pytest.raises(KeyError):
        stored["ctr/none:sum"]
    (tmp_path / "statistics.npz").unlink()
    with pytest.raises(RunError, match="is missing; evaluate the run again"):
        stored["ctr/auc:positives"]


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):
        write_statistics(tmp_path / "statistics.npz", {"a": np.array([object()], dtype=object)})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_or_broken_file_is_said_in_one_line(tmp_path):
    with pytest.raises(RunError, match="is missing; evaluate the run again"):
        read_statistics(tmp_path / "none.npz")
    (tmp_path / "half.npz").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(RunError, match="cannot be read as statistics"):
        read_statistics(tmp_path / "half.npz")


def test_a_score_that_is_not_finite_is_refused_by_the_baselines_name(funnel, columns):
    with pytest.raises(DataError, match="cosine: row 0 is nan"):
        compact(columns, funnel, scores={"cosine": np.full(3000, np.nan)})
