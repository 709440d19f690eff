"""One of two gloo ranks dies: the run ends within seconds, says which and how to go on, and leaves no process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from children import children, ended

SMALL = [
    "backbone=tiny",
    "backbone.dropout=0.1",
    "trainer.precision=32-true",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    "tuning=lora",
    "data.source.impressions=600",
    "data.source.items=100",
    "data.source.queries=30",
    "data.source.page=5",
    "data.rows_per_batch=20",
    "logger=none",
    "baselines=[]",
    "callbacks.checkpoint.every_n_steps=2",
]
AT_STEP = 7
SECONDS = 60
"""From the fault to the last process's end: 1 to 12 on this machine at work, half of it Python's own end. PyTorch's
time-out, which is what ends such a run otherwise, is 1800.
"""


def run(folder, *words, **environment):
    """Exit status, lines on standard error, seconds from the fault to the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = Path(__file__).parents[1] / "failing_rank.py"
    started = {
        "OMP_NUM_THREADS": "1",
        "MASTER_PORT": port,
        "AT_STEP": str(AT_STEP),
        "FAILED_AT": str(folder / "failed"),
    }
    process = subprocess.Popen(
        [sys.executable, str(script), "train", *words],
        env={**os.environ, **started, **environment},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    begun = set()
    try:
        while process.poll() is None and not (folder / "failed").exists() and environment:
            begun |= set(children(process.pid))
            time.sleep(0.05)
        _, said = process.communicate(timeout=300)
        assert ended(begun), "a rank was left behind"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    seconds = time.time() - (folder / "failed").stat().st_mtime if environment else 0.0
    assert len(begun) >= 1 or not environment
    return process.returncode, said, seconds


def dies(folder, kept_logs, fail, rank, *words):
    code, said, seconds = run(
        folder,
        *("quickstart", *SMALL, kept_logs, "trainer=ddp", f"run_dir={folder / 'run'}", *words),
        FAIL=fail,
        RANK_THAT_FAILS=str(rank),
    )
    return code, said, seconds, json.loads((folder / "run" / "record.json").read_text())


WAY_ON = "saved at step 6; go on with: funneltune train resume="


@pytest.mark.slow
@pytest.mark.tried("dead_rank", "fault")
def test_a_further_rank_is_killed_and_the_run_goes_on_bit_for_bit(tmp_path, kept_logs):
    is_killed(tmp_path, kept_logs, "ddp")
    code, said, _ = run(tmp_path, f"resume={tmp_path / 'run'}")
    assert code == 0, said[-3000:]
    code, said, _ = run(tmp_path, "quickstart", *SMALL, kept_logs, "trainer=ddp", f"run_dir={tmp_path / 'alone'}")
    assert code == 0, said[-3000:]
    records = [json.loads((tmp_path / name / "record.json").read_text()) for name in ("alone", "run")]
    assert records[1]["resumed"][0]["step"] == 6
    assert records[0]["metrics"] == records[1]["metrics"]
    weights = [(tmp_path / name / "weights" / "trained.safetensors").read_bytes() for name in ("alone", "run")]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.tried("dead_rank", "fault")
def test_so_it_ends_where_ranks_share_the_weights(tmp_path, kept_logs):
    is_killed(tmp_path, kept_logs, "fsdp2")


def is_killed(folder, kept_logs, strategy):
    code, said, seconds, record = dies(folder, kept_logs, "kill", 1, f"trainer={strategy}")
    assert code == 1
    assert seconds < SECONDS
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: rank 1 was killed by SIGKILL; {WAY_ON}")
    assert "Traceback" not in said
    assert (record["status"], record["error"]) == ("failed", f"LostProcessError: {line.removeprefix('error: ')}")


@pytest.mark.slow
@pytest.mark.tried("dead_rank", "fault")
def test_where_the_first_rank_is_killed_the_others_end_with_it(tmp_path, kept_logs):
    code, said, seconds, record = dies(tmp_path, kept_logs, "kill", 0)
    assert code == -signal.SIGKILL
    assert seconds < SECONDS
    assert record["status"] == "running"  # nobody was left to write; resume=auto takes it up
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fail", "status", "own"),
    [("raise", 1, "ValueError: no such colour"), ("refuse", 2, "error: row 7: label 5 must be 0 or 1.")],
)
@pytest.mark.tried("dead_rank", "fault")
def test_a_further_rank_raises_alone(tmp_path, kept_logs, fail, status, own):
    code, said, seconds, record = dies(tmp_path, kept_logs, fail, 1)
    assert code == 1
    assert seconds < SECONDS
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"error: rank 1 ended with status {status}; its own message stands above; {WAY_ON}")
    assert own in said
    assert record["status"] == "failed"
    assert record["error"].startswith(f"LostProcessError: rank 1 ended with status {status}; ")


@pytest.mark.slow
@pytest.mark.tried("dead_rank", "fault")
def test_the_first_rank_raises_alone(tmp_path, kept_logs):
    code, said, seconds, record = dies(tmp_path, kept_logs, "refuse", 0)
    assert code == 2
    assert seconds < SECONDS
    assert [line for line in said.splitlines() if line.startswith("error: ")] == [
        "error: row 7: label 5 must be 0 or 1."
    ]
    assert (record["status"], record["error"]) == ("failed", "DataError: row 7: label 5 must be 0 or 1.")


@pytest.mark.slow
@pytest.mark.tried("dead_rank", "fault")
def test_a_further_rank_is_asked_to_stop_alone_and_all_stop_together(tmp_path, kept_logs):
    code, said, seconds, record = dies(tmp_path, kept_logs, "terminate", 1)
    assert code == 128 + signal.SIGTERM
    assert seconds < SECONDS
    assert said.count("go on with: funneltune train resume=") == 1
    assert f"saved at step {AT_STEP + 1}" in said
    assert record["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.tried("dead_rank", "fault")
def test_a_rank_that_hangs_is_waited_for_no_longer_than_the_config_says(tmp_path, kept_logs):
    code, said, seconds, record = dies(tmp_path, kept_logs, "stop", 1, "trainer.rank_timeout=45")
    assert code == 1
    assert 40 < seconds < 45 + SECONDS
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert line.startswith(
        "error: rank 0 waited trainer.rank_timeout=45 seconds for the others: one hangs, or is slow; "
    )
    assert WAY_ON in line
    assert record["status"] == "failed"
