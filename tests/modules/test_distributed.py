"""Two gloo ranks give the gradients, the weights, the metrics and the ranks of one process."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("two_ranks.py")


def start(folder, method, devices, accumulate, strategy, **environment):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), method, str(devices), str(accumulate), str(folder), strategy],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        _, said = process.communicate(timeout=500)
    finally:
        process.kill()
    assert process.returncode == 0, said[-3000:]


def run(folder, method, devices, accumulate, strategy="auto"):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        start(
            folder, method, devices, accumulate, strategy, **where, **({"LOCAL_RANK": str(rank)} if devices > 1 else {})
        )
        for rank in range(devices)
    ]
    for process in processes:
        finish(process)
    return [json.loads((folder / f"{method}-{devices}-{rank}.json").read_text()) for rank in range(devices)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "accumulate", "strategy"),
    [
        pytest.param("full", 2, "ddp", marks=pytest.mark.slow),
        ("adalora", 1, "ddp"),
        pytest.param("features", 1, "ddp", marks=pytest.mark.slow),
        pytest.param("per_task", 1, "ddp", marks=pytest.mark.slow),
        pytest.param("mixture", 2, "ddp", marks=pytest.mark.slow),
        pytest.param("drawn", 2, "ddp", marks=pytest.mark.slow),
        pytest.param("full", 2, "fsdp2", marks=pytest.mark.slow),
        pytest.param("houlsby", 1, "fsdp2", marks=pytest.mark.slow),
        pytest.param("lora", 1, "fsdp2", marks=pytest.mark.slow),
        pytest.param("features", 1, "fsdp2", marks=pytest.mark.slow),
        pytest.param("full+pcgrad", 2, "ddp", marks=pytest.mark.slow),
        pytest.param("adalora+upgrad", 1, "ddp", marks=pytest.mark.slow),
        pytest.param("drawn+mgda", 2, "ddp", marks=pytest.mark.slow),
        pytest.param("full+gradnorm", 2, "ddp", marks=pytest.mark.slow),
        pytest.param("lora+uncertainty", 1, "ddp", marks=pytest.mark.slow),
        pytest.param("full+dwa", 2, "ddp", marks=pytest.mark.slow),
    ],
)
def test_two_ranks_give_the_gradients_weights_metrics_and_ranks_of_one(tmp_path, method, accumulate, strategy):
    (alone,) = run(tmp_path, method, 1, accumulate)
    ranks = run(tmp_path, method, 2, accumulate, strategy)
    assert alone["steps"] == ranks[0]["steps"] >= 5
    assert alone["rows"] % 2 == 1  # an odd test split: no row is repeated to fill it up
    for found in ranks:
        assert found["rows"] == alone["rows"]
        assert found["pattern"] == alone["pattern"]
        assert found["measured"] == pytest.approx(alone["measured"], rel=1e-4)
        for kind, tolerance in (("gradients", 1e-6), ("weights", 1e-5), ("balancing", 1e-5)):
            assert set(found[kind]) == set(alone[kind])
            for name, values in alone[kind].items():
                np.testing.assert_allclose(found[kind][name], values, atol=tolerance, rtol=tolerance, err_msg=name)
        for key, value in alone["metrics"].items():
            assert found["metrics"][key] == (None if value is None else pytest.approx(value, abs=1e-5)), key
    assert ranks[0]["metrics"] == ranks[1]["metrics"]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert ranks[0]["balancing"] == ranks[1]["balancing"]
    assert bool(alone["measured"]) == ("+" in method)
