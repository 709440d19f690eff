"""A batch that does not fit: one line, nothing changed, and no second try."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from funneltune.backbones import Encoder
from funneltune.cli import main
from funneltune.cli.compose import compose_config
from funneltune.errors import NoMemoryError, is_out_of_memory
from funneltune.experiments import user_fault
from funneltune.modules import FunnelModule
from funneltune.runs import train
from funneltune.runs.out_of_memory import no_memory

CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of which 1.5 GiB is free."
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4096000000 bytes. Error code 12 (Cannot allocate memory)"
)
ERRORS = [torch.OutOfMemoryError(CUDA), RuntimeError(CPU), MemoryError("Unable to allocate 3 GiB for an array")]
SMALL = [
    "backbone=tiny",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "tuning=full",
    "data.source.impressions=600",
    "data.source.items=100",
    "data.source.queries=30",
    "data.source.page=5",
    "data.rows_per_batch=40",
    "trainer.max_steps=4",
    "logger=none",
    "baselines=[]",
]


def config(kept_logs, *words):
    return compose_config(["experiment=quickstart", *SMALL, kept_logs, *words])


def failing(monkeypatch, owner, name, error, when):
    """Let a method raise where `when` says so of its first argument."""
    whole = getattr(owner, name)

    def called(self, *arguments, **keywords):
        if when(self):
            raise error
        return whole(self, *arguments, **keywords)

    monkeypatch.setattr(owner, name, called)


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "cpu", "python"])
@pytest.mark.tried("out_of_memory", "fault")
def test_a_training_batch_that_does_not_fit_ends_the_run_and_names_what_it_held(
    tmp_path, monkeypatch, kept_logs, error
):
    failing(monkeypatch, FunnelModule, "score", error, lambda module: module.training and module.global_step == 2)
    with pytest.raises(NoMemoryError) as caught:
        train(config(kept_logs), tmp_path / "run")
    told = str(caught.value)
    assert re.match(
        r"out of memory in training, step 2 with 40 rows \(\d+, \d+, \d+, \d+, \d+, \.\.\. \d+ of the log\), \d+ "
        r"unique texts of [\d,]+ tokens, the longest of \d+ tokens \(.*the process's peak was \d\.\d\d GB\)\. "
        r"Nothing was changed; "
        r"data\.rows_per_batch=20 trainer\.accumulate_grad_batches=2 takes steps of the same size in smaller parts\.$",
        told,
    )
    asked = {"CUDA": "(20.00 MiB more were asked for, ", "[enf": "(4,096.0 MB more were asked for, "}
    assert asked.get(str(error)[:4], "(the process") in told
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert (record["status"], record["error"]) == ("failed", f"NoMemoryError: {told}")
    assert record["config"]["data"]["rows_per_batch"] == 40


@pytest.mark.tried("out_of_memory", "fault")
def test_backward_is_told_as_forward_is(tmp_path, monkeypatch, kept_logs):
    failing(monkeypatch, FunnelModule, "backward", ERRORS[0], lambda module: module.global_step == 1)
    words = ["data.rows_per_batch=null", "data.tokens_per_batch=301", "trainer.accumulate_grad_batches=3"]
    with pytest.raises(NoMemoryError, match="data.tokens_per_batch=150 trainer.accumulate_grad_batches=6 takes steps"):
        train(config(kept_logs, *words), tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "when", "doing"),
    [
        ([], lambda module: module.trainer.validating or module.trainer.sanity_checking, None),
        (["trainer.val_check_interval=2"], lambda module: module.trainer.state.fn == "fit", "validation"),
        ([], lambda module: module.trainer.state.fn == "test", "the test"),
    ],
)
@pytest.mark.tried("out_of_memory", "fault")
def test_so_is_an_evaluations(tmp_path, monkeypatch, kept_logs, words, when, doing):
    failing(monkeypatch, FunnelModule, "_measure", ERRORS[0], when)
    with pytest.raises(NoMemoryError) as caught:
        train(config(kept_logs, "data.eval_rows_per_batch=50", *words), tmp_path / "run")
    assert f"out of memory in {doing or 'validation'} with " in str(caught.value)
    assert "data.eval_rows_per_batch=25 measures the same; backbone.token_budget=2048 reads" in str(caught.value)


@pytest.mark.tried("out_of_memory", "fault")
def test_while_the_catalogue_is_read_its_texts_are_named(tmp_path, monkeypatch, kept_logs):
    failing(monkeypatch, Encoder, "lower", ERRORS[1], lambda encoder: True)
    with pytest.raises(NoMemoryError) as caught:
        train(config(kept_logs, "tuning=frozen", "backbone.cache=always"), tmp_path / "run")
    told = str(caught.value)
    assert re.search(r"with \d+ unique texts of [\d,]+ tokens, the longest of \d+ tokens \(", told)
    assert told.endswith("Nothing was changed; backbone.token_budget=2048 reads fewer texts at once.")


@pytest.mark.tried("out_of_memory", "fault")
def test_outside_of_runs_an_encoders_texts_are_named_too(tiny_backbone, make_data, monkeypatch):
    batch = next(iter(make_data().val_dataloader()))
    failing(monkeypatch, Encoder, "lower", ERRORS[0], lambda encoder: True)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        tiny_backbone.encoder()(batch.texts)
    fault = user_fault(caught.value)
    assert type(fault) is NoMemoryError
    assert (
        f"out of memory with {len(batch.texts)} unique texts of {int(batch.texts.lengths.sum()):,} tokens, the longest "
        f"of {int(batch.texts.lengths[-1])} tokens" in str(fault)
    )
    assert fault.status == 1


def test_texts_that_stand_twice_are_not_called_unique(make_data):
    unique, plain = (next(iter(make_data(unique=asked).val_dataloader())).texts for asked in (True, False))
    assert f"{len(unique):,} unique texts of {len(unique.token_ids):,} tokens, " in unique.in_words()
    assert plain.in_words().startswith(f"{len(plain):,} texts of {len(plain.token_ids):,} tokens, the longest of ")


def test_other_errors_are_none_of_memory():
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert user_fault(RuntimeError("mat1 and mat2")) is None


def test_a_batch_of_one_row_has_no_half(kept_logs):
    told = str(
        no_memory(ERRORS[0], config(kept_logs, "data.rows_per_batch=1"), doing="training, step 0", batch="1 row")
    )
    assert "rows_per_batch" not in told


@pytest.mark.slow
@pytest.mark.tried("out_of_memory", "fault")
def test_a_study_does_not_try_again_what_does_not_fit(tmp_path, monkeypatch, kept_logs):
    tried = []
    failing(monkeypatch, FunnelModule, "training_step", ERRORS[0], lambda module: tried.append(module) is None)
    folder = tmp_path / "study"
    words = ["study.baseline=null", "study.retries=2", f"study_dir={folder}"]
    assert main(["study", "quickstart", *SMALL, kept_logs, *words]) == 1
    (run,) = json.loads((folder / "study.json").read_text())["runs"]
    assert run["status"] == "failed"
    assert run["error"].startswith("out of memory in training, step 0 with 40 rows ")
    assert len(tried) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "more", "words", "told"),
    [
        ("training", 100, ["data.rows_per_batch=4096"], r"in training, step 0 with 4,0\d\d rows .* trainer.accumulate"),
        (
            "evaluation",
            100,
            ["data.eval_rows_per_batch=4096", "backbone.token_budget=200000", "backbone.remember=0"],
            "in validation with 4,0.. rows .* measures the same; ",
        ),
        (
            "catalogue",
            1,
            ["tuning=frozen", "backbone.cache=always"],
            "with [0-9,]+ unique texts of [0-9,]+ tokens, the longest of .. ",
        ),
    ],
)
@pytest.mark.tried("out_of_memory", "fault")
def test_a_process_that_may_take_no_more_says_so(tmp_path, what, more, words, told):
    wide = [f"backbone.architecture.{name}=256" for name in ("hidden_size", "intermediate_size")]
    log = ["data.source.impressions=20000", "data.split.validation=0.2", "trainer.max_steps=1", "data.unique=false"]
    script = Path(__file__).parents[1] / "short_of_memory.py"
    done = subprocess.run(
        [sys.executable, str(script), "train", "quickstart", *SMALL, *wide, *log, *words, "run_dir=run"],
        env={**os.environ, "FROM": what, "MORE": str(more), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr[-3000:]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.search(told, line), line
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "run" / "record.json").read_text())["status"] == "failed"
