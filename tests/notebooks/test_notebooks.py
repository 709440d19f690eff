"""The notebooks: pairs in step, each runs from a fresh kernel, public names only, files that the page has too."""

import ast
import importlib
import json
import re
import sys
from pathlib import Path

import jupytext
import pytest
from notebooks.refresh import ROOT, SOURCES, executed

NAMES = [source.stem for source in SOURCES]
ROOMS = ("funneltune.data", "funneltune.heads", "funneltune.reporting")
LARGEST = 350_000


def cells(notebook, kind="code"):
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def test_each_has_a_number_of_its_own():
    assert NAMES[:4] == ["01_first_run", "02_read_a_study", "03_your_own_log", "04_your_own_head"]
    numbers = [name.partition("_")[0] for name in NAMES]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_pair_is_in_step(source):
    ours, theirs = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    assert [(c.cell_type, c.source) for c in ours.cells] == [(c.cell_type, c.source) for c in theirs.cells], (
        "make notebooks writes the .ipynb anew"
    )


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_source_survives_the_way_there_and_back(source):
    again = re.sub("#       jupytext_version: .*\n", "", jupytext.writes(jupytext.read(source), "py:percent"))
    assert again.rstrip() == source.read_text().rstrip()


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_what_is_shown_is_small_whole_and_names_no_machine(source):
    path = source.with_suffix(".ipynb")
    text = path.read_text()
    assert len(text) < LARGEST
    assert not re.findall(r"/(?:root|home|tmp|work|Users)/\w+", text)
    outputs = [output for cell in cells(jupytext.read(path)) for output in cell.outputs]
    assert len(outputs) > 5
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert "image/png" in text


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_the_first_cell_installs_what_is_missing(source):
    first, second, *_ = cells(jupytext.read(source))
    assert 'find_spec("funneltune") is None' in first.source
    assert "[minilm]" in first.source
    assert "import funneltune" not in first.source
    assert "import funneltune" in second.source


def imported(code):
    """(module, name or None) of each import."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((str(node.module), alias.name) for alias in node.names)


def private(code):
    """What code takes of funneltune that is not exported: a module, or a name that its module's list has not."""
    for module, name in imported(code):
        if module.partition(".")[0] != "funneltune":
            continue
        if name is None and module != "funneltune":
            yield module
        elif name is not None and name not in getattr(importlib.import_module(module), "__all__", ()):
            yield f"{module}.{name}"
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and (node.attr.startswith("_") or not _public(node)):
            yield ast.unparse(node)


def _public(node):
    import funneltune

    direct = isinstance(node.value, ast.Name) and node.value.id == "funneltune"
    return not direct or node.attr in funneltune.__all__


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_cells_use_public_names_alone(source):
    code = "\n".join(cell.source.replace("%matplotlib inline", "") for cell in cells(jupytext.read(source)))
    shown = [
        one
        for one in private(code)
        if one not in ("cfg.tuning._target_", "cfg.head._target_", "cfg.objective._target_")
    ]
    assert not shown


def test_what_is_private_is_found():
    assert list(private("import funneltune\nfuneltune = funneltune.train")) == []
    assert list(private("import funneltune.runs.load")) == ["funneltune.runs.load"]
    assert list(private("from funneltune.records import as_json")) == ["funneltune.records.as_json"]
    assert list(private("from funneltune.reporting import compare")) == []
    assert list(private("import funneltune\nfunneltune.api.verbs")) == ["funneltune.api"]
    assert list(private("records._findings")) == ["records._findings"]


def test_the_head_s_files_are_those_of_the_page():
    page = (ROOT / "docs" / "own_head.md").read_text()
    written = {}
    code = "\n".join(cell.source.replace("%matplotlib inline", "") for cell in cells(jupytext.read(SOURCES[3])))
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "write_text":
            written[node.func.value.args[0].value] = node.args[0].value
    shown = dict(re.findall(r'^```\w+ title="(.+?)"\n(.*?)^```$', page, flags=re.S | re.M))
    assert set(written) == {"my_heads.py", "my/head/nfm.yaml", "test_nfm.py", "my/study/nfm.yaml"}
    assert written == {name: shown[name] for name in written}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_a_notebook_runs_in_a_fresh_kernel(source, tmp_path):
    notebook = executed(source, tmp_path)
    kept = jupytext.read(source.with_suffix(".ipynb"))
    assert len(cells(notebook)) == len(cells(kept))
    json.dumps(notebook)


@pytest.mark.slow
def test_a_cell_that_fails_is_told(tmp_path):
    from nbclient.exceptions import CellExecutionError

    broken = tmp_path / "05_broken.py"
    broken.write_text("# %%\nassert 1 == 2, 'as it must'\n")
    with pytest.raises(CellExecutionError, match="as it must"):
        executed(broken, tmp_path)


@pytest.mark.slow
def test_the_kernel_is_this_python_and_ends_with_its_notebook(tmp_path):
    asks = tmp_path / "05_asks.py"
    asks.write_text("# %%\nimport os, sys\nprint(sys.executable, os.getpid())\n")
    (cell,) = cells(executed(asks, tmp_path))
    executable, process = cell.outputs[0].text.split()
    assert executable == sys.executable.removeprefix(f"{ROOT}/")
    assert not Path(f"/proc/{process}").exists()
