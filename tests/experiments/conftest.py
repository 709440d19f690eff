"""A study with fake training."""

import sys
from pathlib import Path

import pytest

from funneltune.cli.launch import launch
from funneltune.experiments import CellTask

sys.path.insert(0, str(Path(__file__).parent))
import fake_runs


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Runs a study with fake training: returns (state, folders trained by this call)."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a study"

    def run(*overrides, train=fake_runs.train):
        trained = []

        def noted(cfg, run_dir):
            trained.append(run_dir.relative_to(folder).as_posix())
            return train(cfg, run_dir)

        words = ["study=quickstart", "study.axes.tuning=[frozen,full]", *overrides]
        return launch(words, folder, task=CellTask(folder, train=noted)), trained

    run.folder = folder
    return run
