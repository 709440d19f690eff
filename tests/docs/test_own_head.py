"""docs/own_head.md to the letter: its files are written to a folder, its test passes, its commands compose."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from funneltune.cli import main
from funneltune.cli.study import Asked

PAGE = (Path(__file__).parents[2] / "docs" / "own_head.md").read_text()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name, text in re.findall(r'^```\w+ title="(.*?)"\n(.*?)^```', PAGE, flags=re.S | re.M):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FUNNELTUNE_TRUST", "my_heads")
    sys.modules.pop("my_heads", None)
    yield tmp_path
    sys.modules.pop("my_heads", None)


def test_a_head_is_one_source_file_one_yaml_and_one_test(folder):
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == [
        "my/head/nfm.yaml",
        "my/study/nfm.yaml",  # the comparison's, not the head's
        "my_heads.py",
        "test_nfm.py",
    ]


def test_its_test_passes(folder):
    assert pytest.main(["-q", "-p", "no:cacheprovider", "--import-mode=importlib", str(folder / "test_nfm.py")]) == 0


def test_its_commands_compose_with_the_head(folder, capsys):
    for line in re.findall(r"^funneltune ((?:train|study) .*)$", PAGE, flags=re.M):
        assert main([*shlex.split(line), "--cfg", "job"]) == 0, capsys.readouterr().err
    for line in re.findall(r"^funneltune study (.*) --config-dir my$", PAGE, flags=re.M):
        name, *overrides = shlex.split(line)
        Asked.compose(name, overrides, folder / "my").check()


def test_it_goes_with_every_funnel_and_kind_of_task(folder):
    from heads import test_heads

    head = importlib.import_module("my_heads").NFM
    for funnel in test_heads.FUNNELS:
        test_heads.test_every_task_of_every_funnel_has_what_its_kind_needs(head, funnel)
    test_heads.test_a_head_starts_near_one_half(head)
    test_heads.test_every_parameter_learns_from_all_tasks_losses(head)
    test_heads.test_heads_read_each_tasks_own_representation(head)
