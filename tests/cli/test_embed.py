"""`funneltune embed` as a command."""

import pandas as pd
import pytest

from funneltune.cli import main

SMALL = [
    "backbone=tiny",
    "tuning=frozen",
    "data.source.impressions=400",
    "data.source.items=60",
    "data.source.queries=30",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, kept_logs):
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main(["train", f"run_dir={folder}", kept_logs, *SMALL]) == 0
    return folder


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_file_of_any_format_gives_a_vector_a_row(run, tmp_path, capsys, suffix):
    frame, path = pd.DataFrame({"query": ["red shoes", "lamp"]}), tmp_path / f"queries.{suffix}"
    {"csv": lambda: frame.to_csv(path, index=False), "parquet": lambda: frame.to_parquet(path)}.get(
        suffix, lambda: frame.to_json(path, orient="records", lines=True)
    )()
    assert main(["embed", f"run={run}", f"input={path}", f"output={tmp_path / 'v.parquet'}"]) == 0
    assert "2 vectors of " in capsys.readouterr().out
    assert pd.read_parquet(tmp_path / "v.parquet").key.tolist() == ["red shoes", "lamp"]


def test_without_a_file_the_whole_catalogue_is_written(run, tmp_path):
    assert main(["embed", f"run={run}", "what=items", f"output={tmp_path / 'items.parquet'}"]) == 0
    assert len(pd.read_parquet(tmp_path / "items.parquet")) == 60


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["output=v.csv"], "output=v.csv must end in .parquet or .npz"),
        (["output=v.npz", "what=shops"], "what='shops' must be one of queries, items, users"),
        (["output=v.npz", "input=none.csv"], "input=none.csv is no file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, in_a_folder, capsys, words, told):
    assert main(["embed", f"run={run}", *words]) == 2
    assert told in capsys.readouterr().err
