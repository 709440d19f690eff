"""The pages about parts of one's own, to the letter: their files are written to a folder, their tests pass there."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from funneltune.cli import main
from funneltune.cli.study import Asked

DOCS = Path(__file__).parents[2] / "docs"
OWN = {
    "own_head": ("my_heads", "my/head/nfm.yaml", "test_nfm.py"),
    "own_objective": ("my_objectives", "my/objective/both_spaces.yaml", "test_both_spaces.py"),
    "own_tuning": ("my_tuning", "my/tuning/norms.yaml", "test_norms.py"),
}
"""Page -> its source, its choice, its test: all that a part of one's own is."""


def page(name):
    return (DOCS / f"{name}.md").read_text()


@pytest.fixture
def write(tmp_path, monkeypatch):
    def written(name):
        for file, text in re.findall(r'^```\w+ title="(.*?)"\n(.*?)^```', page(name), flags=re.S | re.M):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(text)
        monkeypatch.setenv("FUNNELTUNE_TRUST", OWN[name][0])
        return tmp_path

    def forget():
        for module, _, test in OWN.values():
            sys.modules.pop(module, None)
            sys.modules.pop(Path(test).stem, None)

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield written
    forget()


@pytest.mark.parametrize("name", OWN)
def test_a_part_is_one_source_file_one_yaml_and_one_test(write, name):
    folder = write(name)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    source, choice, test = OWN[name]
    assert files - {"my/study/nfm.yaml"} == {f"{source}.py", choice, test}  # a study compares, it is no part of a head


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_its_test_passes(write, name):
    folder = write(name)
    asked = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "--import-mode=importlib"]
    assert pytest.main([*asked, str(folder / OWN[name][2])]) == 0


@pytest.mark.parametrize("name", OWN)
def test_its_commands_compose_with_it(write, name, capsys):
    folder = write(name)
    text = re.sub(r"\\\n\s*", "", page(name))
    lines = re.findall(r"^funneltune ((?:train|study) .*)$", text, flags=re.M)
    assert len(lines) >= 2
    for line in lines:
        assert main([*shlex.split(line), "--cfg", "job"]) == 0, capsys.readouterr().err
    for line in re.findall(r"^funneltune study (.*) --config-dir my$", text, flags=re.M):
        word, *overrides = shlex.split(line)
        Asked.compose(word, overrides, folder / "my").check()


def test_the_head_goes_with_every_funnel_and_kind_of_task(write):
    from heads import test_heads

    write("own_head")
    head = importlib.import_module("my_heads").NFM
    for funnel in test_heads.FUNNELS:
        test_heads.test_every_task_of_every_funnel_has_what_its_kind_needs(head, funnel)
    test_heads.test_a_head_starts_near_one_half(head)
    test_heads.test_every_parameter_learns_from_all_tasks_losses(head)
    test_heads.test_heads_read_each_tasks_own_representation(head)
