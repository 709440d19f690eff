"""Two gloo ranks: killed or asked to stop, they end together, leave no process behind, and go on bit for bit."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from matrices import sampled

SMALL = [
    "backbone=tiny",
    "backbone.dropout=0.1",
    "trainer.precision=32-true",
    "trainer.max_epochs=3",
    "data.source.impressions=600",
    "data.source.items=100",
    "data.source.queries=30",
    "data.source.page=5",
    "data.rows_per_batch=20",
    "logger=none",
    "baselines=[]",
    "callbacks.checkpoint.every_n_steps=2",
]


def begin(folder, *words, verb="train"):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return subprocess.Popen(
        [sys.executable, "-m", "funneltune", verb, "quickstart", *SMALL, f"data.cache_dir={folder}", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": port},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process):
    try:
        _, said = process.communicate(timeout=500)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


def until_saved(run, process):
    while not list(run.glob("**/checkpoints/step-*.ckpt.sha256")):
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.02)


def nothing_runs_on(process):
    for _ in range(400):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def cut_off_and_go_on(folder, signum, *words):
    code, said = end(begin(folder, *words, f"run_dir={folder / 'alone'}"))
    assert code == 0, said[-3000:]
    run = folder / "cut"
    process = begin(folder, *words, f"run_dir={run}")
    until_saved(run, process)
    process.send_signal(signum)  # the first rank alone
    code, said = end(process)
    assert code == (-signal.SIGKILL if signum == signal.SIGKILL else 128 + signum)
    assert nothing_runs_on(process)
    if signum != signal.SIGKILL:
        assert said.count("go on with: funneltune train resume=") == 1
    code, said = end(begin(folder, *words, f"run_dir={run}", "resume=auto"))
    assert code == 0, said[-3000:]
    records = [json.loads((folder / name / "record.json").read_text()) for name in ("alone", "cut")]
    assert records[1]["resumed"][0]["step"] >= 2
    assert records[0]["metrics"] == records[1]["metrics"]
    assert records[0]["rank_pattern"] == records[1]["rank_pattern"]
    weights = [(folder / name / "weights" / "trained.safetensors").read_bytes() for name in ("alone", "cut")]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_two_ranks_stop_together_and_go_on_bit_for_bit(tmp_path):
    cut_off_and_go_on(tmp_path, signal.SIGTERM, "trainer=ddp", "tuning=adalora")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    sampled([("ddp", "adalora"), ("ddp", "full"), ("ddp", "houlsby"), ("fsdp2", "lora"), ("ddp", "lora")]),
    ids="-".join,
)
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_two_ranks_go_on_bit_for_bit_after_a_kill(tmp_path, kind):
    strategy, method = kind
    cut_off_and_go_on(tmp_path, signal.SIGKILL, f"trainer={strategy}", f"tuning={method}", "select=best")


@pytest.mark.slow
@pytest.mark.tried("sigterm", "fault")
def test_a_study_that_is_asked_to_stop_passes_it_on_to_a_cell_of_two_ranks(tmp_path):
    words = ["trainer=ddp", "tuning=lora", "study.baseline=null", f"study_dir={tmp_path / 'study'}"]
    process = begin(tmp_path, *words, verb="study")
    until_saved(tmp_path / "study", process)
    process.send_signal(signal.SIGTERM)
    code, said = end(process)
    assert code == 143
    assert nothing_runs_on(process)
    assert "the same command goes on" in said
    state = json.loads((tmp_path / "study" / "study.json").read_text())
    assert [run["status"] for run in state["runs"]] == ["interrupted"]
    code, said = end(begin(tmp_path, *words, verb="study"))
    assert code == 0, said[-3000:]
    (record,) = (tmp_path / "study").rglob("record.json")
    assert json.loads(record.read_text())["resumed"][0]["step"] >= 2
