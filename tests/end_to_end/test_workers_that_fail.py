"""A loader worker that dies or hangs in a run: one line, a record, nothing left behind, and the run goes on."""

import json
import os
import signal
import time

import pytest
from torch.utils.data import get_worker_info

from children import children, ended
from funneltune.cli import main
from funneltune.data.collate import Collator

SMALL = [
    "backbone=tiny",
    "backbone.dropout=0.1",
    "trainer.precision=32-true",
    "trainer.max_epochs=2",
    "trainer.enable_progress_bar=false",
    "tuning=houlsby",
    "data.source.impressions=600",
    "data.source.items=100",
    "data.source.queries=30",
    "data.source.page=5",
    "data.rows_per_batch=40",
    "data.workers=1",
    "data.worker_timeout=2",
    "logger=none",
    "baselines=[]",
    "callbacks.checkpoint.every_n_steps=1",
]


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def hangs():
    time.sleep(60)


def raises():
    raise ValueError("no such colour")


def fail_in_second_epoch(monkeypatch, how):
    whole = Collator.__call__
    made = []

    def collate(self, draw):
        if get_worker_info() is not None and draw.epoch == 1:
            made.append(draw)
            if len(made) == 5:
                how()
        return whole(self, draw)

    monkeypatch.setattr(Collator, "__call__", collate)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, kept_logs):
    """The same run, left alone."""
    run = tmp_path_factory.mktemp("alone") / "run"
    assert main(["train", "quickstart", *SMALL, kept_logs, f"run_dir={run}"]) == 0
    return run


@pytest.mark.slow
@pytest.mark.parametrize("how", [killed, hangs, raises])
@pytest.mark.tried("loader_worker", "fault")
def test_the_run_ends_with_one_line_and_goes_on_bit_for_bit(tmp_path, monkeypatch, capfd, kept_logs, alone, how):
    run, before = tmp_path / "cut", set(children())
    capfd.readouterr()
    with monkeypatch.context() as broken:
        fail_in_second_epoch(broken, how)
        assert main(["train", "quickstart", *SMALL, kept_logs, f"run_dir={run}"]) == 1
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert ended([pid for pid in children() if pid not in before])
    assert len(said) == 1
    assert "batch 5 of epoch 2 (rows " in said[0]
    assert "data.workers=0 shows where" in said[0]
    record = json.loads((run / "record.json").read_text())
    assert record["status"] == "failed"
    assert said[0].removeprefix("error: ") == record["error"].partition(": ")[2]
    if how is not raises:  # what a worker raises, it raises again
        assert f"go on with: funneltune train resume={run}" in said[0]
    assert main(["train", f"resume={run}"]) == 0
    records = [json.loads((folder / "record.json").read_text()) for folder in (alone, run)]
    assert records[1]["resumed"][0]["step"] > 0
    assert records[0]["metrics"] == records[1]["metrics"]
    weights = [(folder / "weights" / "trained.safetensors").read_bytes() for folder in (alone, run)]
    assert weights[0] == weights[1]
