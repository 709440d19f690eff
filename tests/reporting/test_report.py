"""From records to the table that people read: what is printed, what is written, what is refused."""

import csv
import io
import json
import shutil

import pytest
from rich.console import Console

from funneltune.errors import ConfigError, RunError
from funneltune.funnel import TaskFunnel
from funneltune.records import RunRecord, read_records
from funneltune.reporting import report
from funneltune.reporting.columns import columns_of
from funneltune.reporting.comparisons import compare


def test_the_printed_table_names_cells_ceiling_and_verdicts(study):
    console = Console(record=True, width=120, file=io.StringIO())
    report(study, console=console)
    text = console.export_text()
    for word in ("full", "oracle (ceiling)", "popularity", "Holm", "better"):
        assert word in text


def test_table_files_hold_the_means_over_seeds(study, tmp_path):
    out = tmp_path / "out"
    assert report(study, out, Console(quiet=True)).folder == out
    assert {p.name for p in out.iterdir()} == {"table.md", "table.csv", "table.tex", "report.html"}
    values = []
    for seed in (0, 1, 2):
        record = json.loads((study / f"cells/tuning=full/seed={seed}/record.json").read_text())
        values.append(record["metrics"]["test"]["ctr/auc"]["value"])
    with (out / "table.csv").open() as file:
        (row,) = [r for r in csv.DictReader(file) if (r["kind"], r["name"]) == ("cell", "full")]
    assert float(row["ctr/auc"]) == pytest.approx(sum(values) / 3, abs=1e-6)


def test_a_report_twice_writes_the_same_bytes(study):
    report(study, console=Console(quiet=True))
    first = {p.name: p.read_bytes() for p in study.iterdir() if p.is_file()}
    report(study, console=Console(quiet=True))
    assert {p.name: p.read_bytes() for p in study.iterdir() if p.is_file()} == first


def test_an_output_that_is_a_file_is_refused(study, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match="is a file; name a folder"):
        report(study, tmp_path / "out", Console(quiet=True))
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_of_several_studies_is_refused_and_one_study_below_a_folder_is_read(study, tmp_path):
    above = tmp_path / "above"
    shutil.copytree(study, above / "one")
    report(above, tmp_path / "out", Console(quiet=True))
    shutil.copytree(study, above / "two")
    with pytest.raises(RunError, match=r"holds several studies \(one, two\), which one table would mix; name one of"):
        report(above, tmp_path / "out", Console(quiet=True))


def test_headings_spell_words_as_the_config_does_and_abbreviations_in_capitals():
    funnel = TaskFunnel.from_config(
        {"relevant": {"rate": "relevant"}, "exact": {"given": ["relevant"], "rate": "strict", "joint_rate": "exact"}}
    )
    record = RunRecord(
        name="a",
        funnel=funnel.to_config(),
        metrics={"test": {k: {"value": 0.5} for k in ("relevant/auc", "exact/auc")}},
    )
    assert [c.title for c in columns_of([record]) if c.group == "quality"] == ["relevant AUC", "exact AUC"]


def test_a_studys_own_metrics_have_a_column_each(study, tmp_path):
    content = json.loads((study / "study.json").read_text())
    own = {  # key: its heading
        "cvr_entire/expected_log_loss": "CVR log loss entire",
        "cvr_entire/expected_ece": "CVR ECE entire",
        "cvr_entire/predicted_over_true": "CVR predicted over true",
        "ctcvr/expected_auc": "CTCVR AUC expected",
        "ctr/mrr": "CTR mrr",
    }
    content["study"]["metrics"] = ["cvr_entire/expected_auc", *own, "cvr/none"]
    (study / "study.json").write_text(json.dumps(content))
    shown = report(study, tmp_path / "out", Console(quiet=True)).table
    keys = [column.key for column in shown.group("quality")]
    assert keys.count("cvr_entire/expected_auc") == 1
    assert {column.key: column.title for column in shown.columns if column.key in own} == own
    full, oracle = (next(row for row in shown.rows if row.name == name) for name in ("full", "oracle (ceiling)"))
    assert all(full.figures[key].spread > 0 for key in own)
    assert oracle.figures["cvr_entire/predicted_over_true"].mean == 1
    assert "cross-entropy" in shown.protocols["cvr_entire/expected_log_loss"]["averaging"]


def test_every_cell_can_be_held_against_a_baseline_of_its_own_rows(study):
    found = compare(read_records(study), baseline="popularity", metrics=["ctr/auc"])
    assert {c.cell for c in found} == {"tuning=frozen", "tuning=full", "tuning=adalora"}
    assert {c.baseline for c in found} == {"popularity"}
    record = RunRecord.read(study / "cells/tuning=full/seed=0/record.json")
    full = next(c for c in found if c.cell == "tuning=full")
    assert full.seeds == 3
    assert full.verdict == "better"
    assert full.baseline_value == pytest.approx(record.baselines["popularity"]["ctr/auc"]["value"], abs=1e-4)
    with pytest.raises(ConfigError, match="baseline=bm52 is no cell here"):
        compare(read_records(study), baseline="bm52")
