"""What lies below the lowest trained layer is computed once per log, for every run that shares it."""

import pandas as pd
import pytest
import torch

from funneltune.cli.compose import compose_config
from funneltune.errors import DataError
from funneltune.runs import train
from funneltune.runs.load import evaluate
from resuming import SMALL, config, sweep

TOP = ["tuning=houlsby", "tuning.bottleneck=4", "tuning.top=1", "backbone.architecture.num_hidden_layers=2"]


@pytest.fixture
def run(tmp_path):
    def run(name, *overrides):
        cfg = compose_config(
            [
                *SMALL,
                f"data.cache_dir={tmp_path / 'cache'}",
                "select=last",
                "callbacks.history.every_n_steps=1",
                *overrides,
            ]
        )
        return train(cfg, tmp_path / name)

    return run


def folders(tmp_path):
    return sorted((tmp_path / "cache").glob("*/hidden-*"))


def losses(tmp_path, name):
    history = pd.read_parquet(tmp_path / name / "history.parquet")
    return torch.tensor(history[history.name == "train/loss"].value.to_numpy())


@pytest.mark.parametrize(
    ("overrides", "tolerance"),
    [
        (TOP, 2e-3),
        ([*TOP, "backbone.interaction=cross"], 2e-3),
        pytest.param([*TOP, "trainer.precision=bf16-mixed"], 2e-2, marks=pytest.mark.slow),
        pytest.param(["tuning=lora", *TOP[2:]], 2e-3, marks=pytest.mark.slow),
        (["tuning=frozen"], 1e-5),
    ],
    ids=["twin", "cross", "bf16", "lora", "frozen"],
)
def test_a_run_from_the_cache_is_the_plain_one(run, tmp_path, overrides, tolerance):
    kept = run("kept", *overrides, "backbone.cache=always").cost["boundary_cache"]
    assert kept["texts"] > 20
    plain = run("plain", *overrides, "backbone.cache=never")
    assert "boundary_cache" not in plain.cost
    torch.testing.assert_close(losses(tmp_path, "kept"), losses(tmp_path, "plain"), atol=tolerance, rtol=0)
    assert len(losses(tmp_path, "kept")) > 3


@pytest.mark.slow
def test_runs_share_a_cache_and_other_boundaries_and_weights_have_their_own(run, tmp_path):
    first = run("first", *TOP, "backbone.cache=always").cost["boundary_cache"]
    again = run("again", "tuning=lora", *TOP[2:], "backbone.cache=always").cost["boundary_cache"]
    assert (first["layers"], again["layers"]) == (1, 1)
    assert first["seconds"] > 0
    assert again["seconds"] == 0
    assert len(folders(tmp_path)) == 1
    run("frozen", *TOP[3:], "tuning=frozen", "backbone.cache=always")
    run("others", *TOP, "backbone.cache=always", "seed=3")  # other random weights
    run("longer", *TOP, "backbone.cache=always", "data.max_tokens=6")
    assert len(folders(tmp_path)) == 4


@pytest.mark.slow
def test_auto_keeps_states_where_training_reads_more_texts_than_there_are(run):
    assert "boundary_cache" in run("long", *TOP, "trainer.max_epochs=4").cost
    assert "boundary_cache" not in run("short", *TOP, "trainer.max_steps=1").cost


def test_that_nothing_can_be_kept_is_told(run, tmp_path):
    assert "boundary_cache" not in run("full", "tuning=full", "backbone.cache=always").cost
    told = (tmp_path / "full" / "train.log").read_text()
    assert told.count("backbone.cache=always keeps nothing: no layer lies below the lowest that is trained") == 1


def test_a_cache_that_would_be_too_large_is_not_made(run, tmp_path):
    record = run("small", *TOP, "backbone.cache=always", "backbone.cache_gb=1e-6")
    assert "boundary_cache" not in record.cost
    assert "more than backbone.cache_gb=1e-06" in (tmp_path / "small" / "train.log").read_text()
    assert folders(tmp_path) == []


def test_a_damaged_cache_is_refused(run, tmp_path):
    run("first", *TOP, "backbone.cache=always")
    values = folders(tmp_path)[0] / "values.bin"
    damaged = bytearray(values.read_bytes())
    damaged[100] ^= 1
    values.write_bytes(damaged)
    with pytest.raises(DataError, match=r"values.bin is damaged.*delete"):
        run("again", *TOP, "backbone.cache=always")


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("tuning", [TOP, ["tuning=frozen"]], ids=["top", "frozen"])
@pytest.mark.parametrize("policy", ["always", "never", "auto"])
def test_a_run_is_measured_again_as_it_measured(run, tmp_path, policy, tuning, split):
    record = run("run", *tuning, f"backbone.cache={policy}", "trainer.precision=bf16-mixed")
    assert evaluate(tmp_path / "run", split) == record.metrics[split]


@pytest.mark.slow
def test_a_run_from_a_cache_goes_on_bit_for_bit(tmp_path):
    cfg = config(tmp_path / "cache", "houlsby", "bf16-mixed", 2, "esmm", *TOP[2:], "backbone.cache=always")
    differing, _, last = sweep(cfg, tmp_path)
    assert len(differing) == last - 1 >= 5
    assert {step: places for step, places in differing.items() if places} == {}
