"""The same seed twice, and with loaders of 0, 1 and 2 workers: the very same numbers, to the last digit."""

import json

import pandas as pd
import pytest

from funneltune.cli import main
from resuming import SMALL

KEPT = [word for word in SMALL if not word.startswith(("callbacks.", "~", "trainer.max_epochs"))]
WORDS = [
    *KEPT,
    "tuning=lora",
    "tuning.rank=2",
    "tuning.dropout=0.1",
    "features=all",
    "features.dropout=0.1",
    "head=esmm",
    "objective=entire_space_bce",
    "trainer.max_epochs=1",
    "trainer.precision=32-true",
]
MEASURED = ("metrics", "oracle", "baselines", "comparisons", "calibration", "parameters", "rank_pattern")


@pytest.fixture(scope="module")
def run(tmp_path_factory, kept_logs):
    """What a run of these words came to: all that its record measures, its predictions, what it logged on the way."""
    made = {}

    def run(name, *words):
        if name not in made:
            folder = tmp_path_factory.mktemp("run") / "run"
            assert main(["train", *WORDS, kept_logs, f"run_dir={folder}", *words]) == 0
            record = json.loads((folder / "record.json").read_text())
            history = pd.read_parquet(folder / "history.parquet")
            losses = history[history.name.str.match("(train|validation)/")][["name", "step", "value"]]
            measured = {key: record[key] for key in MEASURED}
            made[name] = measured, pd.read_parquet(folder / "predictions.parquet"), losses.reset_index(drop=True)
        return made[name]

    return run


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.tried("reproducibility", "fault")
def test_one_seed_gives_one_set_of_numbers_whatever_loads_the_rows(run, workers):
    first, again = run("first", "data.workers=0"), run(f"again with {workers}", f"data.workers={workers}")
    assert first[0]["metrics"]["test"]["ctr/auc"]["value"] is not None
    assert again[0] == first[0]
    pd.testing.assert_frame_equal(again[1], first[1], check_exact=True)
    pd.testing.assert_frame_equal(again[2], first[2], check_exact=True)
    assert "train/loss" in set(first[2].name)


def test_another_seed_gives_others(run):
    first, other = run("first", "data.workers=0"), run("other", "data.workers=0", "seed=1")
    assert first[0]["metrics"]["test"] != other[0]["metrics"]["test"]
    assert not first[2].equals(other[2])
