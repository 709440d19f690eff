"""Kills real runs at random moments and looks at what is left, for `test_kills.py`; by hand, as many as one likes:

`python tests/killing.py runs|study|saves KILLS FOLDER [SEED]`
"""

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pandas as pd
import torch
from safetensors.torch import load_file

# Imported before the forks, so that a run starts at once and kills fall into its work. Nothing is computed here.
from funneltune.callbacks import CheckpointFiles, newest_checkpoint, read_checkpoint
from funneltune.callbacks.checkpoint_files import prune
from funneltune.cli import main

SMALL = [
    "backbone=tiny",
    "data.source.impressions=600",
    "data.source.items=100",
    "data.source.queries=30",
    "data.source.page=5",
    "data.source.ctr=0.2",
    "data.rows_per_batch=20",
    "backbone.dropout=0.1",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=4",
    "trainer.val_check_interval=0.5",
    "callbacks.checkpoint.every_n_steps=3",
    "baselines=[popularity]",
    "logger=none",
]
METHOD = ["tuning=adalora", "tuning.target_rank=1", "tuning.initial_rank=2", "select=best"]


def started(work, log):
    """A child that does `work` and ends with its status; what it says goes to a file."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        torch.set_num_threads(1)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


def command(words, log):
    return started(lambda: main(words), log)


def ended(pid, delay=None):
    """Wait for a child, or kill it after `delay` seconds. Returns its status; -9 where it was killed."""
    end = None if delay is None else time.monotonic() + delay
    while end is None or time.monotonic() < end:
        done, status = os.waitpid(pid, 0 if end is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def left(run):
    """All that a run's result is, times and memory left out."""
    record = json.loads((run / "record.json").read_text())
    return {
        "metrics": record["metrics"],
        "baselines": record["baselines"],
        "rank_pattern": record["rank_pattern"],
        "status": record["status"],
        "weights": {
            name: t.numpy().tobytes() for name, t in load_file(run / "weights" / "trained.safetensors").items()
        },
        "predictions": pd.read_parquet(run / "predictions.parquet").to_json(double_precision=15),
        "history": pd.read_parquet(run / "history.parquet").to_json(double_precision=15),
        "statistics": (run / "statistics.npz").read_bytes(),
    }


def finish(words, log, kills, span, rng):
    """Begin, kill at random moments so many times, then go on to the end. Returns the kills that hit."""
    hits = 0
    for _ in range(kills):
        hits += ended(command(words, log), rng.uniform(*span)) == -signal.SIGKILL
    status = ended(command(words, log))
    assert status == 0, Path(log).read_text()[-3000:]
    return hits


def kill_runs(kills, folder, seed=0):
    """Runs that are killed, and taken up, against one that was left alone."""
    rng = random.Random(seed)
    words = ["train", "quickstart", *METHOD, *SMALL, f"data.cache_dir={folder / 'cache'}"]
    assert ended(command([*words, f"run_dir={folder / 'first'}"], folder / "log")) == 0, (folder / "log").read_text()
    begun = time.monotonic()
    assert ended(command([*words, f"run_dir={folder / 'alone'}"], folder / "log")) == 0
    span = time.monotonic() - begun
    alone, same, hits, resumed = left(folder / "alone"), 0, 0, 0
    assert left(folder / "first") == alone
    trial = 0
    while hits < kills:
        run = folder / f"killed-{trial}"
        trial += 1
        asked = min(2, kills - hits)
        hit = finish([*words, f"run_dir={run}", "resume=auto"], folder / "log", asked, (0, span), rng)
        hits, span = hits + hit, span * (1.0 if hit else 0.7)  # the machine was busier when the first was timed
        same += left(run) == alone
        resumed += sum(one["step"] > 0 for one in json.loads((run / "record.json").read_text())["resumed"])
        shutil.rmtree(run)
    return {"kills": hits, "taken up from a checkpoint": resumed, "runs": trial, "runs like the one left alone": same}


def kill_study(kills, folder, seed=0):
    """A study that is killed so often, against one that was left alone."""
    rng = random.Random(seed)
    words = ["study", "quickstart", "tuning=frozen,lora", "seed=0,1", *SMALL, f"data.cache_dir={folder / 'cache'}"]
    words += ["study.baseline='tuning=frozen'"]
    begun = time.monotonic()
    assert ended(command([*words, f"study_dir={folder / 'alone'}"], folder / "log")) == 0, (folder / "log").read_text()
    span = time.monotonic() - begun
    hits = finish([*words, f"study_dir={folder / 'killed'}"], folder / "log", kills, (0.1 * span, 0.3 * span), rng)
    cells = [path.parent.relative_to(folder / "alone") for path in (folder / "alone").rglob("record.json")]
    same = sum(left(folder / "alone" / cell) == left(folder / "killed" / cell) for cell in cells)
    tables = [table(folder / name) for name in ("alone", "killed")]
    return {"kills": hits, "cells": len(cells), "cells alike": same, "tables alike": tables[0] == tables[1]}


def table(study):
    """The study's table and verdicts, without the part that says what it cost."""
    parts = (study / "table.md").read_text().split("\n\n")
    comparisons = json.loads((study / "study.json").read_text())["comparisons"]
    return [part for part in parts if "step ms" not in part], comparisons


def kill_saves(kills, folder, seed=0):
    """A process that saves without a pause, killed in it: what lies there must be whole."""
    rng = random.Random(seed)
    loadable = 0
    for trial in range(kills):
        where = folder / f"saves-{trial}"
        where.mkdir()

        def save(where=where):
            files = CheckpointFiles()
            for step in range(1, 10_000):
                content = {"state_dict": {"w": torch.full((4_000_000,), float(step))}, "global_step": step}
                files.save_checkpoint(content, where / f"step-{step}.ckpt")
                prune(where, {f"step-{step}.ckpt", f"step-{step - 1}.ckpt"})
            return 0

        pid = started(save, folder / "log")
        while not (where / "step-1.ckpt.sha256").exists():
            time.sleep(0.005)
        assert ended(pid, rng.uniform(0, 0.5)) == -signal.SIGKILL
        newest = newest_checkpoint(where)
        content = read_checkpoint(newest)
        loadable += bool((content["state_dict"]["w"] == content["global_step"]).all())
        shutil.rmtree(where)
    return {"kills": kills, "loadable": loadable}


if __name__ == "__main__":
    what, kills, folder, *seed = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    deeds = {"runs": kill_runs, "study": kill_study, "saves": kill_saves}
    print(json.dumps(deeds[what](int(kills), Path(folder), *map(int, seed))))  # noqa: T201
