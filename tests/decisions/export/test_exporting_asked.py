"""An export as it is asked for: in which forms, where to, checked or not; and what is refused or not left behind."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import funneltune
from exports import differences, loaded_data
from funneltune.decisions.export import export, exporting
from funneltune.decisions.export.checking import TestRows, largest_difference
from funneltune.decisions.export.exporting import loaded
from funneltune.errors import ConfigError, FailedRunError, RunError

EXAMPLE = re.search(r'^```python title="score.py"\n(.*?)^```', Path("docs/export.md").read_text(), flags=re.S | re.M)[1]
WITHOUT = """
import sys
for name in ("torch", "transformers", "funneltune", "pandas", "scipy"):
    sys.modules[name] = None
"""


@pytest.fixture(scope="module")
def plain(train):
    """Texts alone, all weights."""
    run = train("tuning=full")
    export(run, to="onnx", check=False)
    return run


def test_the_example_of_the_docs_runs_without_torch(plain, tmp_path):
    (tmp_path / "score.py").write_text(WITHOUT + EXAMPLE)
    command = [sys.executable, "score.py", str(plain / "export" / "onnx")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[\w ]+: click 0\.\d{4}, click and purchase 0\.\d{4}\n", done.stdout)


def test_unchecked_exports_measure_nothing(plain):
    content = json.loads((plain / "export" / "decision.json").read_text())
    assert content["numbers"] == content["tables"] == {}
    assert list(content["settings"]["forms"]) == ["onnx"]


def test_python_exports_as_the_command_does(plain, tmp_path):
    told = funneltune.export(plain, tmp_path / "out", "safetensors", repeats=0)
    assert told.verb == "export"
    assert told.settings == {"to": "safetensors", "forms": ["safetensors"], "check": True, "repeats": 0}
    content = json.loads((tmp_path / "out" / "decision.json").read_text())
    assert content["numbers"] == told.numbers
    assert list(differences(told)) == ["run", "safetensors"]


def test_int8_alone_leaves_no_float_graphs(plain, tmp_path):
    told = export(plain, tmp_path / "out", to="int8", repeats=0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["decision.json", "int8", "manifest.json"]
    assert {"run", "int8"} == set(differences(told))
    sizes = [sum(p.stat().st_size for p in f.glob("encoder*")) for f in (tmp_path / "out/int8", plain / "export/onnx")]
    assert sizes[0] < sizes[1]


def test_a_form_that_says_something_else_is_not_left_behind(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "INT8_TOLERANCE", 1e-12)
    with pytest.raises(FailedRunError, match=r"int8 differs from the run by .* more than 1e-12; nothing was written"):
        export(plain, tmp_path / "out", to="int8", repeats=0)
    assert not list(tmp_path.iterdir())


def test_a_changed_weight_is_found_by_the_check(plain, tmp_path, monkeypatch):
    written = exporting.write_whole

    def broken(assembly, *arguments, **keywords):
        with torch.no_grad():
            assembly.module.head.towers["click"][-1].bias += 0.01
        written(assembly, *arguments, **keywords)
        with torch.no_grad():
            assembly.module.head.towers["click"][-1].bias -= 0.01

    monkeypatch.setattr(exporting, "write_whole", broken)
    with pytest.raises(FailedRunError, match=r"safetensors differs from the run by"):
        export(plain, tmp_path / "out", to="safetensors")


def test_what_is_asked_wrongly_is_told_in_a_line(plain, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"to=onx must be one of merged, safetensors, onnx, int8, all"):
        export(plain, tmp_path / "out", to="onx")
    (tmp_path / "mine").touch()
    with pytest.raises(RunError, match=r"output=.* exists; name another folder or remove it"):
        export(plain, tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"export needs a package that is not installed: pip install 'funneltune\[onnx\]'"
    ):
        export(plain, tmp_path / "out", to="onnx")


def test_a_test_split_without_rows_is_told(plain, monkeypatch):
    assembly = loaded_data(plain)
    monkeypatch.setitem(assembly.data._requests, "test", np.zeros(0, np.int64))
    with pytest.raises(RunError, match=r"test split has no rows to check an export on; set check=false"):
        TestRows.of(assembly)


def test_some_requests_are_checked_whole(plain):
    rows = TestRows.of(loaded_data(plain), most=30)
    assert len(rows.rows) == 20
    assert largest_difference({"p_a": np.array([0.1])}, {"p_a": np.array([0.3]), "p_b": np.zeros(1)}) == pytest.approx(
        0.2
    )
    assert largest_difference({"mean_a": np.array([1.0])}, {"mean_a": np.array([3.0])}) == pytest.approx(0.5)


def test_a_compiled_run_is_loaded_as_it_can_be_traced(plain, tmp_path):
    shutil.copytree(plain, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("  compile: false", "  compile: true"))
    layers = loaded(tmp_path / "run").module.encoder.backbone.encoder.layer
    assert all(layer._compiled_call_impl is None for layer in layers)
