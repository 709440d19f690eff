"""Curves by their names, and what of a run's history becomes evidence."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from funneltune.records import read_records
from funneltune.reporting import collect
from funneltune.reporting.history import curve, keep_history, names, thinned


def logged(run, curves):
    rows = [(step, name, value) for name, found in curves.items() for step, value in found]
    step, name, value = zip(*rows, strict=True)
    pq.write_table(pa.table({"step": step, "name": name, "value": value}), run.path.parent / "history.parquet")
    return run


@pytest.fixture
def run(study):
    return read_records(study).runs[0]


def test_a_curve_comes_back_by_its_name_with_its_steps_in_order(run):
    logged(run, {"train/loss": [(10, 0.5), (5, 0.7)], "validation/ctr/auc": [(10, 0.6)]})
    steps, values = curve(run, "train/loss")
    assert steps.tolist() == [5, 10]
    assert values.tolist() == [0.7, 0.5]
    assert set(names(run)) == {"train/loss", "validation/ctr/auc"}
    assert [len(part) for part in curve(run, "train/other")] == [0, 0]


def test_a_run_without_a_history_has_no_curves(run):
    assert names(run) == ()
    assert len(curve(run, "train/loss")[0]) == 0


def test_evidence_keeps_what_learning_curves_need(run, tmp_path):
    one = [(7, 0.5)]
    kept = [
        *("rank/encoder.layer.0", "gradient/cosine[click,purchase]", "train/loss", "train/loss_click"),
        *("validation/ctr/auc", "validation/cvr_entire/expected_auc", "validation/ctcvr/log_loss"),
        "validation/ctr/ndcg@10",
    ]
    left = [
        "lr/head",
        "train/gradient_norm",
        "validation/ctr/f1",
        "validation/ctr/auc[item_cold=1]",
        "tuning/live_rank",
    ]
    logged(run, dict.fromkeys([*kept, *left], one))
    keep_history(run, tmp_path / "kept.parquet", ["ctr/ndcg@10"])
    table = pq.read_table(tmp_path / "kept.parquet")
    assert sorted(table["name"].to_pylist()) == sorted(kept)
    assert set(table["value"].to_pylist()) == {0.5}


def test_a_study_keeps_the_metrics_that_it_names(study, tmp_path):
    for each in read_records(study).runs:
        logged(each, {"validation/ctr/ece": [(1, 0.1)], "validation/cvr/ece": [(1, 0.1)]})
    kept = read_records(collect(study, tmp_path / "kept")).runs
    assert {names(each) for each in kept} == {("validation/ctr/ece",)}


def test_a_history_of_nothing_that_is_read_leaves_no_file(run, tmp_path):
    logged(run, {"lr/head": [(1, 0.1)]})
    keep_history(run, tmp_path / "kept.parquet")
    assert not (tmp_path / "kept.parquet").exists()


def test_training_losses_are_thinned_and_keep_their_ends(run, tmp_path):
    logged(
        run, {"train/loss": [(step, 1 / (1 + step)) for step in range(1000)], "rank/a": [(s, 1.0) for s in range(500)]}
    )
    keep_history(run, tmp_path / "kept.parquet")
    table = pq.read_table(tmp_path / "kept.parquet").to_pandas()
    loss = table[table.name == "train/loss"]
    assert len(loss) == 150
    assert loss.step.iloc[[0, -1]].tolist() == [0, 999]
    assert np.allclose(loss.value, 1 / (1 + loss.step))
    assert (table.name == "rank/a").sum() == 500
    short = (np.arange(3), np.ones(3))
    assert thinned(short) is short
