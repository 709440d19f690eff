"""Records: what goes in comes out, whole, and a reader is told what is wrong with a file."""

import json
import math

import numpy as np
import pytest

from funneltune.errors import RunError
from funneltune.records import DecisionRecord, RunRecord, as_json, number, read_records, record_paths, write_json


def test_a_record_comes_back_as_it_went(tmp_path):
    record = RunRecord(
        name="a", status="finished", seed=3, config={"seed": 3}, metrics={"test": {"ctr/auc": {"value": 0.7}}}
    )
    again = RunRecord.read(record.write(tmp_path / "record.json"))
    assert again == record
    assert again.value("ctr/auc") == 0.7
    assert again.value("ctr/auc", "validation") is None


def test_a_decision_comes_back_as_it_went_and_a_stranger_is_refused(tmp_path):
    told = {"ctr": {"value": 0.5, "low": None, "high": None, "protocol": "test"}}
    record = DecisionRecord(verb="rank", run="runs/a", settings={"top": 3}, numbers=told, notes=["one request"])
    path = record.write(tmp_path)
    assert path.name == "decision.json"
    assert DecisionRecord.read(path) == record
    content = json.loads(path.read_text())
    write_json(path, content | {"verbs": 1})
    with pytest.raises(RunError, match="field 'verbs' is unknown or missing"):
        DecisionRecord.read(path)
    write_json(path, {key: value for key, value in content.items() if key != "run"})
    with pytest.raises(RunError, match="field 'run' is unknown or missing"):
        DecisionRecord.read(path)


def test_json_holds_null_where_a_number_is_undefined():
    plain = as_json({"a": math.nan, "b": np.float32("inf"), "c": np.arange(2), "d": (1, np.int64(2)), "e": {"z", "y"}})
    assert plain == {"a": None, "b": None, "c": [0, 1], "d": [1, 2], "e": ["y", "z"]}
    json.dumps(plain, allow_nan=False)


@pytest.mark.parametrize(
    ("entry", "wanted"), [({"value": 1}, 1.0), (0.5, 0.5), (math.nan, None), (True, None), ("0.5", None), (None, None)]
)
def test_only_finite_numbers_are_numbers(entry, wanted):
    assert number(entry) == wanted


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = write_json(tmp_path / "x.json", {"a": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("funneltune.files.os.replace", full)
    with pytest.raises(RunError, match=r"x.json cannot be written \(No space left on device\): [\d,]+ MB are free"):
        write_json(path, {"a": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert json.loads(path.read_text()) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds list, not a mapping"),
        ('{"schema_version": 99, "name": "a"}', "schema_version=99 is not the one"),
        ('{"schema_version": 1, "name": "a", "colour": 1}', "field 'colour' is unknown"),
        ('{"schema_version": 1}', "field 'name' is missing"),
        ('{"schema_version": 1, "name": "a", "status": "maybe"}', "status='maybe' is unknown"),
    ],
)
def test_a_broken_record_is_named_with_its_fault(tmp_path, content, message):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(RunError, match=message):
        read_records(tmp_path)


def test_a_missing_and_an_empty_folder_are_told_apart(tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        read_records(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"holds no record\.json"):
        read_records(tmp_path)


def test_runs_of_one_name_are_cells_of_their_own_where_more_than_the_seed_differs(tmp_path):
    for folder, seed, lr in (("one", 0, 1), ("two", 1, 1), ("three", 0, 2)):
        RunRecord(name="mine", seed=seed, config={"seed": seed, "lr": lr}).write(tmp_path / folder / "record.json")
    cells = read_records(tmp_path).cells
    assert {name: [r.record.seed for r in runs] for name, runs in cells.items()} == {
        "mine/one": [0, 1],
        "mine/three": [0],
    }


def test_run_folders_and_evidence_are_found_alike(tmp_path):
    RunRecord(name="a").write(tmp_path / "cells" / "tuning=full" / "seed=0" / "record.json")
    RunRecord(name="a", cell="tuning=frozen").write(tmp_path / "records" / "tuning=frozen__seed=0.json")
    assert len(record_paths(tmp_path)) == 2
    assert set(read_records(tmp_path).cells) == {"tuning=full", "tuning=frozen"}
