"""How far metrics moved when a run was measured anew."""

from importlib import import_module

import pytest

from funneltune.errors import RunError
from funneltune.files import locked
from funneltune.runs import remeasure
from funneltune.runs.remeasure import furthest


def test_the_metric_that_moved_most_is_named():
    before = {"test": {"ctr/auc": {"value": 0.7}, "cvr/auc": {"value": None}, "gone": {"value": 1.0}}}
    after = {"test": {"ctr/auc": {"value": 0.75}, "cvr/auc": {"value": 0.5}, "ctr/auc[item_cold=1]": {"value": 0.1}}}
    assert furthest(before, after) == (pytest.approx(0.05), "test/ctr/auc")
    assert furthest(before, before) == (0.0, None)
    assert furthest({}, after) == (0.0, None)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="nowhere"):
        remeasure(tmp_path / "nowhere")


def test_a_folder_that_is_being_written_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(import_module("funneltune.runs.remeasure"), "finished_config", lambda run: None)
    with locked(tmp_path, refuse="busy"), pytest.raises(RunError, match="is being written by another process"):
        remeasure(tmp_path)
