"""Small runs to export."""

import io
from contextlib import redirect_stdout

import pytest

from funneltune.cli import main

SMALL = [
    "backbone=tiny",
    "head=esmm",
    "objective=entire_space_bce",
    "data.source.impressions=800",
    "data.source.items=120",
    "data.source.queries=40",
    "data.source.ctr=0.3",
    "data.source.cvr=0.3",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]


@pytest.fixture(scope="module")
def train(tmp_path_factory, kept_logs):
    def made(*words, precision="32-true"):
        given = {word.lstrip("+").partition("=")[0] for word in words}
        run = tmp_path_factory.mktemp("run") / "run"
        usual = [word for word in (*SMALL, f"trainer.precision={precision}") if word.partition("=")[0] not in given]
        with redirect_stdout(io.StringIO()):
            assert main(["train", f"run_dir={run}", kept_logs, *usual, *words]) == 0
        return run

    return made
