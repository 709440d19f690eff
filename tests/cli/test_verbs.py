"""evaluate, predict, report and data: what they ask of the rooms below, and what they print."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from funneltune.cli import main
from funneltune.records import RunRecord


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_evaluate_prints_each_metric_with_its_rows(monkeypatch, capsys):
    asked = []

    def evaluate(run, split):
        asked.append((str(run), split))
        return {"ctr/auc": {"value": 0.7126, "protocol": {"n": 128}}, "cvr/auc": {"value": None, "protocol": {}}}

    monkeypatch.setattr("funneltune.runs.evaluate", evaluate)
    assert main(["evaluate", "run=a/b", "split=validation"]) == 0
    assert asked == [("a/b", "validation")]
    assert capsys.readouterr().out == "validation:\n  ctr/auc     0.7126  n=128\n  cvr/auc  undefined\n"


def test_predict_says_how_many_rows_went_where(monkeypatch, capsys, tmp_path):
    (tmp_path / "in.csv").write_text("a\n1\n")
    monkeypatch.setattr("funneltune.runs.predict", lambda run, source, target, calibration: 7)
    assert main(["predict", "run=r", "input=in.csv", "output=out.parquet"]) == 0
    assert capsys.readouterr().out == "7 rows: out.parquet\n"


def test_report_hands_over_folder_and_output(monkeypatch, tmp_path, capsys):
    calls = []

    def told(path, output, figures):
        calls.append((str(path), output, figures))
        return SimpleNamespace(page=path / "report.html")

    monkeypatch.setattr("funneltune.reporting.report", told)
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"page: {tmp_path / 'report.html'}\n"
    assert main(["report", str(tmp_path), "output=tables", "figures=[png,pdf]"]) == 0
    assert [(path, str(output), figures) for path, output, figures in calls] == [
        (str(tmp_path), "None", []),
        (str(tmp_path), "tables", ["png", "pdf"]),
    ]


def test_data_describe_prints_counts_as_json(capsys):
    assert main(["data", "describe", "data=simulated", "data.source.impressions=2000"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["impressions"] == 2000
    assert sum(split["requests"] for split in described["splits"].values()) == described["requests"] == 100


def test_data_validate_says_that_a_good_log_can_be_used(capsys):
    assert main(["data", "validate", "data=simulated", "data.source.impressions=2000"]) == 0
    assert capsys.readouterr().out.startswith("the log can be used: ")
    assert not Path("cache").exists()


def test_data_validate_tells_every_fault_of_a_users_table(capsys, tmp_path):
    (tmp_path / "bad.csv").write_text("search_term,product_title,relevance\nsofa,couch,3\n")
    assert main(["data", "validate", "data=homedepot", "data.path=bad.csv"]) == 2
    line = capsys.readouterr().err
    assert "product_uid" in line
    assert line.count("\n") == 1


def test_report_keeps_the_evidence_of_a_study_and_reports_from_it(tmp_path, capsys):
    run_dir = tmp_path / "study" / "cells" / "tuning=full" / "seed=0"
    run_dir.mkdir(parents=True)
    metrics = {"test": {"ctr/auc": {"value": 0.75, "protocol": {}}}}
    funnel = {"click": {"kind": "binary", "given": [], "rate": "ctr"}}
    RunRecord("s", status="finished", metrics=metrics, funnel=funnel, run_dir=str(run_dir)).write(
        run_dir / "record.json"
    )
    assert main(["report", str(tmp_path / "study"), f"evidence={tmp_path / 'kept'}"]) == 0
    assert [path.name for path in (tmp_path / "kept" / "records").iterdir()] == ["tuning=full__seed=0.json"]
    capsys.readouterr()
    assert main(["report", str(tmp_path / "kept")]) == 0
    assert "0.7500" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "study"), f"evidence={tmp_path / 'study'}"]) == 2
    assert "is the study itself; name another folder" in capsys.readouterr().err
