"""`funneltune reproduce`: what is refused, what is listed, and a study run and taken up."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from funneltune.cli.arguments import Arguments
from funneltune.cli.entry import main
from funneltune.cli.reproduce import Wanted

QUICK = ["logger=none", "trainer.enable_progress_bar=false", "debug=tiny"]


def said(capsys):
    return capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no paper is named: funneltune reproduce ID; papers: adalora2023"),
        (["adalora"], "adalora is no paper here, nearest: adalora2023"),
        (["adalora2023", "run=maybe"], "run=maybe must be true"),
        (["adalora2023", "run=false", "scale=huge"], "scale=huge must be one of small, full"),
        (["--list", "seed=0"], "--list lists every paper: give it records= and output= alone"),
        (["--list", "scale=full"], "--list lists every paper: give it records= and output= alone"),
        (["adalora2023", "tunig=full"], "tunig"),
        (["adalora2023", "sclae=full"], "sclae is no key, nearest: scale; this verb's own are scale, run"),
        (["adalora2023", "study_dir=s"], "study_dir is a single study's; a paper's studies go below studies/"),
        (["adalora2023", "records=nowhere"], "records=nowhere is no folder; name those that hold studies"),
    ],
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert main(["reproduce", *words]) == 2
    assert message in said(capsys).err


def test_the_list_belongs_to_this_verb(capsys):
    assert main(["study", "--list"]) == 2
    assert "--list says nothing here: study lists no papers" in said(capsys).err


def test_an_output_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["reproduce", "--list", f"output={tmp_path / 'file'}"]) == 2
    assert "is a file; name a folder" in said(capsys).err


@pytest.mark.parametrize("mark", ["study.json", "record.json", "records/one.json"])
def test_a_folder_that_is_itself_a_study_is_told_from_one_that_holds_some(mark, tmp_path, capsys):
    (tmp_path / "selection_bias" / mark).parent.mkdir(parents=True)
    (tmp_path / "selection_bias" / mark).write_text("{}")
    assert main(["reproduce", "esmm2018", f"records={tmp_path / 'selection_bias'}"]) == 2
    assert f"is one study or run; name the folder that holds it by its name: records={tmp_path}" in said(capsys).err


def test_a_record_that_cannot_be_read_is_told_and_not_taken_for_none(tmp_path, capsys):
    (tmp_path / "selection_bias").mkdir()
    (tmp_path / "selection_bias" / "record.json").write_text("{")
    assert main(["reproduce", "esmm2018", "run=false", f"records={tmp_path}"]) == 2
    error = said(capsys).err
    assert "selection_bias/record.json cannot be read as JSON" in error
    assert error.count("\n") == 1


def test_what_is_run_is_looked_at_wherever_else_records_lie(tmp_path):
    words = Arguments(words=("esmm2018",), overrides=(f"records={tmp_path}",))
    assert Wanted.of(words).folders == (Path("studies"), tmp_path)
    assert Wanted.of(replace(words, overrides=(*words.overrides, "run=false"))).folders == (tmp_path,)


def test_without_records_every_paper_is_listed_as_not_run(tmp_path, capsys):
    assert main(["reproduce", "--list", f"records={tmp_path}"]) == 0
    lines = said(capsys).out.splitlines()[1:]
    assert len(lines) >= 20
    assert all(" not run" in line for line in lines)


def test_the_config_is_shown_and_nothing_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "esmm2018", "seed=0", "--cfg", "job"]) == 0
    assert said(capsys).out.startswith("# selection_bias\n")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def own(tmp_path):
    """A registry and a study of the user's own."""
    (tmp_path / "paper").mkdir()
    (tmp_path / "study").mkdir()
    place = {"study": "mine", "metric": "ctr/auc", "cells": {"head=esmm": 1, "head=single": -1}}
    entry = {
        "title": "Mine",
        "citation": "Me, 2026",
        "url": "https://example.org",
        "read": "paper",
        "tables": {},
        "claims": {
            "c": {"says": "It holds.", "effect": 0.1, "unit": 1, "above": 0, "at": {"small": [place], "full": []}}
        },
        "ours": {},
        "counts": [
            {
                "of": "tiny",
                "what": "trained",
                "printed": 1,
                "within": 0.5,
                "overrides": ["backbone=tiny", "tuning=bitfit"],
                "explained": "",
            }
        ],
        "scales": {"small": {"studies": ["mine"], "comparable": False, "differs": "All"}},
    }
    (tmp_path / "paper" / "mine2026.yaml").write_text(yaml.safe_dump(entry))
    study = {
        "defaults": [{"override /experiment": "quickstart"}],
        "name": "mine",
        "study": {"axes": {"head": ["esmm", "single"]}, "seeds": [0, 1], "baseline": None, "metric": "ctr/auc"},
    }
    (tmp_path / "study" / "mine.yaml").write_text("# @package _global_\n" + yaml.safe_dump(study))
    return tmp_path


@pytest.mark.slow
def test_a_papers_study_is_run_once_and_its_page_written(own, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["reproduce", "mine2026", "--config-dir", str(own), "output=pages", *QUICK]
    assert main(words) == 0
    told = said(capsys).out
    assert "# mine2026, scale small: " in told
    assert "not run" not in told.partition("## Claims")[2].partition("## Sizes")[0]
    state = json.loads((tmp_path / "studies/mine/study.json").read_text())
    assert [run["status"] for run in state["runs"]] == ["finished"] * 4
    page = (tmp_path / "pages/mine2026.md").read_text()
    assert "| tiny | trained | 1 |" in page
    begun = (tmp_path / "studies/mine/cells/head=esmm/seed=0/record.json").stat().st_mtime_ns
    assert main([*words, "run=false"]) == 0
    assert main(words) == 0  # nothing is trained again
    assert (tmp_path / "studies/mine/cells/head=esmm/seed=0/record.json").stat().st_mtime_ns == begun
