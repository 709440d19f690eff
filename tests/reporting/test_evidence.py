"""Committed evidence: complete, free of the machine it was made on, and as good as the study to a report."""

import json

import numpy as np
import pytest

from funneltune.errors import RunError
from funneltune.records import read_records
from funneltune.reporting import collect


def test_evidence_holds_each_run_and_says_nothing_of_the_machine(study, tmp_path):
    goal = collect(study, tmp_path / "evidence")
    assert len(list((goal / "records").glob("*.json"))) == len(list((goal / "records").glob("*.npz"))) == 9
    for path in goal.rglob("*"):
        if path.suffix in {".json", ".yaml", ".md"}:
            text = path.read_text()
            assert str(tmp_path) not in text, path
            assert "/opt/somewhere" not in text, path
    record = json.loads((goal / "records" / "tuning=full__seed=0.json").read_text())
    assert record["config"]["data"]["path"] == "log.csv.gz"


def test_a_report_of_the_evidence_is_a_report_of_the_study(study, tmp_path):
    goal = collect(study, tmp_path / "evidence")
    kept, collected = read_records(study), read_records(goal)
    assert [(run.cell, run.record.seed) for run in kept.runs] == [(run.cell, run.record.seed) for run in collected.runs]
    assert "better" in (goal / "table.md").read_text()


@pytest.mark.slow
def test_collecting_again_drops_what_is_no_longer_there(make_study, tmp_path):
    goal = tmp_path / "evidence"
    collect(make_study(), goal)
    (goal / "records" / "tuning=gone__seed=0.json").write_text("{}")
    collect(tmp_path / "study", goal)
    assert not (goal / "records" / "tuning=gone__seed=0.json").exists()


def test_a_failed_run_keeps_its_line_and_brings_no_record(make_study, tmp_path):
    goal = collect(make_study(failed=(("tuning=full", 1),)), tmp_path / "evidence")
    runs = json.loads((goal / "study.json").read_text())["runs"]
    (failed,) = [run for run in runs if run["status"] == "failed"]
    assert failed["record"] is None
    assert len(list((goal / "records").glob("*.json"))) == 8


def test_no_finished_run_and_the_study_itself_are_refused(make_study, tmp_path):
    everything = tuple(
        (cell, seed) for cell in ("tuning=frozen", "tuning=full", "tuning=adalora") for seed in (0, 1, 2)
    )
    study = make_study(failed=everything)
    with pytest.raises(RunError, match="no finished run"):
        collect(study, tmp_path / "evidence")
    with pytest.raises(RunError, match="study itself"):
        collect(study, study)


def test_of_a_study_that_names_its_metrics_only_their_statistics_are_kept(study, tmp_path):
    content = json.loads((study / "study.json").read_text())
    plan = content.get("study", content)
    goal = collect(study, tmp_path / "all")
    name = next((goal / "records").glob("*.npz")).name
    every = set(np.load(goal / "records" / name).files)
    plan |= {"metric": "ctr/auc", "metrics": ["ctr/auc"]}
    (study / "study.json").write_text(json.dumps(content))
    kept = set(np.load(collect(study, tmp_path / "named") / "records" / name).files)
    assert (
        kept == {key for key in every if ":" not in key or key.startswith(("ctr/auc:", "popularity|ctr/auc:"))} < every
    )
