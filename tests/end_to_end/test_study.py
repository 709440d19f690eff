"""Whole studies of tiny models: on equal terms, and cross-validated."""

import json

import pyarrow.parquet as pq
import pytest

from funneltune.cli import main

TINY = ["debug=tiny", "data.source.impressions=4000", "trainer.limit_train_batches=4", "baselines=[]"]


@pytest.mark.slow
def test_matched_and_tuned_methods_train_what_study_json_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["study", "quickstart", "tuning=lora,pfeiffer,adalora", "seed=0,1", "study_dir=here", *TINY]
    words += ["study.match=trainable_parameters", "study.budget=30000", "study.baseline='tuning=lora'"]
    words += ["study.tune={rates: [0.5, 2], overrides: ['data.train_share=0.5'], metric: validation/ctr/auc}"]
    assert main(words) == 0
    study = json.loads((tmp_path / "here/study.json").read_text())
    records = {run["cell"]: json.loads((tmp_path / "here" / run["record"]).read_text()) for run in study["runs"]}
    heads = set()
    for cell, record in records.items():
        matched, tuned = study["matched"][cell], study["tuned"][cell]
        for key, value in {**matched["sizes"], "tuning.learning_rate": tuned["chosen"]}.items():
            assert record["config"]["tuning"][key.removeprefix("tuning.")] == value
        if cell != "tuning=adalora":  # what its allocation keeps may lie in larger matrices
            heads.add(record["parameters"]["trainable_end"] - matched["trained"])
    assert len(heads) == 1  # the heads are alike: the rest is what was matched
    sizes = [one["trained"] for one in study["matched"].values()]
    assert max(sizes) / min(sizes) <= 1.02
    assert len(list((tmp_path / "here/trials").rglob("record.json"))) == 6
    assert not list((tmp_path / "here/trials").rglob("predictions.parquet"))
    assert {comparison["cell"] for comparison in study["comparisons"]} == {"tuning=pfeiffer", "tuning=adalora"}


@pytest.mark.slow
def test_folds_test_every_request_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["study", "quickstart", "tuning=frozen,full", "seed=0", "study_dir=here", *TINY]
    assert main([*words, "data.split.by=user", "study.folds=3"]) == 0
    study = json.loads((tmp_path / "here/study.json").read_text())
    tested, users = [], []
    for fold in range(3):
        table = pq.read_table(tmp_path / f"here/cells/tuning=full/seed=0,fold={fold}/predictions.parquet")
        tested += sorted(set(table["request"].to_pylist()))
        users += sorted(set(table["user"].to_pylist()))
    assert sorted(tested) == sorted(set(tested)) == list(range(200))
    assert len(users) == len(set(users))
    assert all(comparison["seeds"] == 3 for comparison in study["comparisons"])
    assert "3 folds" in (tmp_path / "here/table.md").read_text()
