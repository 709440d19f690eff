"""docs/python.md: its examples run, and its table names every public function."""

import doctest
import re
from pathlib import Path

import pytest

import funneltune

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"


@pytest.mark.slow
def test_its_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    text = PAGE.read_text()
    test = doctest.DocTestParser().get_doctest(text, {}, "python.md", str(PAGE), 0)
    assert len(test.examples) > 15
    told = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert not told, "".join(told)


def test_its_table_names_every_function():
    rows = "\n".join(re.findall(r"^\| `.*$", PAGE.read_text(), flags=re.M))
    functions = [name for name in funneltune.__all__ if name[0].islower()]
    assert [name for name in functions if f"`{name}(" not in rows] == []
