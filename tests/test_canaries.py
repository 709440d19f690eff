"""The search for planted texts finds one in every kind of file that a run or a decision writes."""

import gzip
import io
import json
import sqlite3
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

import canaries
from funneltune.callbacks import tensorboard_logger

CANARY = "canary-zqx ü 4711"


def zipped(content):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", content)
    return held.getvalue()


def arrow(path):
    table = pa.table({"text": [CANARY] * 50})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)


def sqlite(path):
    with sqlite3.connect(path) as base:
        base.execute("create table t (x text)")
        base.execute("insert into t values (?)", ("pad " * 3000 + CANARY,))
    base.close()


TRACKED = """
import sys, wandb
from funneltune.callbacks import tracking, wandb_logger
with tracking([wandb_logger(sys.argv[1], {"name": "x", "text": "a" * 70_000 + sys.argv[2]})]):
    wandb.log({"x": 1})
wandb.teardown()
"""
PLANTED = {
    "train.log": lambda path: path.write_text(f"error: {CANARY}"),
    "record.json": lambda path: path.write_text(json.dumps({"error": CANARY})),
    "config.yaml": lambda path: path.write_text(f"a: {CANARY}\n", encoding="utf-8"),
    "utf16.csv": lambda path: path.write_text(CANARY, encoding="utf-16"),
    "page.html": lambda path: path.write_text(f"<p>{CANARY}</p>"),
    "a.parquet": lambda path: pd.DataFrame({"q": [CANARY] * 99}).to_parquet(path),
    "zstd.parquet": lambda path: pq.write_table(pa.table({"q": [CANARY] * 99}), path, compression="zstd"),
    "lists.parquet": lambda path: pq.write_table(pa.table({"q": [["x", CANARY]] * 99}), path, compression="gzip"),
    "metadata.parquet": lambda path: pq.write_table(pa.table({"q": [1]}).replace_schema_metadata({"a": CANARY}), path),
    "zstd.arrow": arrow,
    "last.ckpt": lambda path: torch.save({"hyper_parameters": {"key": CANARY}, "w": torch.zeros(3)}, path),
    "weights.safetensors": lambda path: save_file({"w": torch.zeros(3)}, str(path), metadata={"told": CANARY}),
    "statistics.npz": lambda path: np.savez_compressed(path, keys=np.array([CANARY, "b"])),
    "log.csv.gz": lambda path: path.write_bytes(gzip.compress(CANARY.encode())),
    "nested.zip": lambda path: path.write_bytes(zipped(gzip.compress(CANARY.encode()))),
    "search.db": sqlite,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_canary_is_found_in_each_kind_of_file(name, tmp_path):
    PLANTED[name](tmp_path / name)
    assert canaries.found(tmp_path, [CANARY, "another"]) == {(name, CANARY)}


@pytest.mark.slow
def test_a_canary_is_found_in_the_files_of_trackers(tmp_path):
    """Behind 70,000 letters, where W&B cuts a record into blocks; in a process with a W&B service of its own."""
    subprocess.run([sys.executable, "-c", TRACKED, str(tmp_path), CANARY], check=True, timeout=300)
    logger = tensorboard_logger(str(tmp_path), {})
    logger.experiment.add_text("facts", CANARY)
    logger.finalize("success")
    hits = {file.rpartition(".")[2] for file, _ in canaries.found(tmp_path, [CANARY]) if "debug" not in file}
    assert "wandb" in hits
    assert any("tfevents" in file for file, _ in canaries.found(tmp_path, [CANARY]))


def test_what_is_not_there_is_not_found(tmp_path):
    for name, plant in PLANTED.items():
        plant(tmp_path / name)
    assert canaries.found(tmp_path, ["canary-zqx ü 4712"]) == set()
    assert canaries.in_text(f"a {CANARY} b", [CANARY, "c-d"]) == {CANARY}
