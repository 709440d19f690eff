"""`funneltune export` as a command: what it prints, its exit status, what it refuses."""

import pytest

from funneltune.cli import main
from funneltune.decisions.export import exporting

SMALL = [
    "backbone=tiny",
    "tuning=lora",
    "head=esmm",
    "objective=entire_space_bce",
    "data.source.impressions=400",
    "data.source.items=80",
    "data.source.queries=40",
    "baselines=[]",
    "logger=none",
    "trainer.enable_progress_bar=false",
    "trainer.precision=32-true",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, kept_logs):
    folder = tmp_path_factory.mktemp("run") / "run"
    assert main(["train", f"run_dir={folder}", kept_logs, *SMALL]) == 0
    return folder


def test_a_form_is_written_and_what_was_measured_is_printed(run, tmp_path, capsys):
    output = tmp_path / "backbone of the shop"
    assert main(["export", f"run={run}", "to=merged", f"output={output}"]) == 0
    printed = capsys.readouterr().out
    assert "held to the run in float32" in printed
    assert f"record: {output / 'decision.json'}" in printed
    assert (output / "backbone" / "model.safetensors").is_file()


def test_a_form_that_differs_ends_with_status_1_and_one_line(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(exporting, "FLOAT_TOLERANCE", -1.0)
    assert main(["export", f"run={run}", "to=safetensors", f"output={tmp_path / 'out'}"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: export: run differs from the run by 0 on ")
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["check=maybe"], "check=maybe must be true or false."),
        (["repeats=often"], "repeats=often must be a whole number, 0 or more; 0 times nothing."),
        (["to=gguf"], "to=gguf must be one of merged, safetensors, onnx, int8, all."),
        (["run=."], "record.json"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, tmp_path, capsys, words, line):
    words = [*([f"run={run}"] if not words[0].startswith("run=") else []), f"output={tmp_path / 'out'}", *words]
    assert main(["export", *words]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_an_output_that_exists_is_left_alone(run, tmp_path, capsys):
    (tmp_path / "mine").write_text("kept")
    assert main(["export", f"run={run}", f"output={tmp_path}", "to=merged"]) == 2
    assert "exists; name another folder or remove it." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
