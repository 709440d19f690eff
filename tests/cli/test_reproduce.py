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
        (["adalora2023", "run=false", "seed=0"], "run=false runs nothing, and seed=0 would say how: leave it out"),
        (["adalora2023", "records="], "records= names no folder"),
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


def test_a_page_takes_the_place_of_a_page_alone(tmp_path, capsys):
    words = ["reproduce", "--list", f"records={tmp_path}", f"output={tmp_path / 'pages'}"]
    assert main(words) == 0
    assert main(words) == 0
    (tmp_path / "pages" / "README.md").write_text("my own words")
    assert main(words) == 2
    assert "README.md is there and is no page of this verb" in said(capsys).err
    assert (tmp_path / "pages" / "README.md").read_text() == "my own words"
    (tmp_path / "file").write_text("")
    assert main([*words[:-1], f"output={tmp_path / 'file' / 'below'}"]) in (1, 2)
    assert said(capsys).err.count("\n") == 1


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
    assert all(" not run" in line for line in lines[:-1])
    assert lines[-1].startswith(f"no records of these studies in {tmp_path} below ")


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


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("esmm2018", {}, "esmm2018 is an entry that ships already; give yours another name"),
        ("mine2026", {"studies": ["min"]}, "scales name study 'min', which is no config, nearest: mine"),
    ],
)
def test_an_own_entry_that_cannot_stand_is_one_line(own, capsys, name, changes, message):
    entry = yaml.safe_load((own / "paper" / "mine2026.yaml").read_text())
    if changes:
        entry["scales"]["small"] |= changes
        entry["claims"]["c"]["at"]["small"][0]["study"] = "min"
    (own / "paper" / f"{name}.yaml").write_text(yaml.safe_dump(entry))
    assert main(["reproduce", "mine2026", "run=false", "--config-dir", str(own)]) == 2
    error = said(capsys).err
    assert message in error
    assert error.count("\n") == 1


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
    assert "**Made with debug=, no evidence: mine.**" in told
    assert main([word for word in words if word not in QUICK] + ["run=false"]) == 0
    assert main(words) == 0  # nothing is trained again
    assert (tmp_path / "studies/mine/cells/head=esmm/seed=0/record.json").stat().st_mtime_ns == begun
