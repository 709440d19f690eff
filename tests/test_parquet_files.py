"""Parquet files that we write hold checksums, and reading one that was damaged gives the same values or one line."""

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import funneltune
from funneltune.callbacks import History
from funneltune.decisions.embedding import Embedded
from funneltune.decisions.pages import write_pages
from funneltune.errors import RunError
from funneltune.files import read_parquet
from funneltune.records import StoredRun
from funneltune.reporting.history import keep_history
from funneltune.runs.measuring import write_predictions

SOURCES = sorted(Path(funneltune.__file__).parent.rglob("*.py"))
RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "request": np.arange(60) // 5,
        "user": [f"u{i % 7}" for i in range(60)],
        "click": np.arange(60) % 3 == 0,
        "p_click": RANDOM.random(60),
    }
)


def history(path):
    callback = History()
    callback._rows = [(step, "train/loss", value) for step, value in enumerate(RANDOM.random(60))]
    callback._write(SimpleNamespace(is_global_zero=True, default_root_dir=str(path.parent)))
    return path.with_name("history.parquet")


def evidence(path):
    run = StoredRun(None, history(path).with_name("record.json"), "cell", None)
    keep_history(run, path.with_name("kept.parquet"), ())
    return path.with_name("kept.parquet")


WRITERS = {
    "predictions": lambda path: write_predictions(path, dict(FRAME)),
    "pages": lambda path: write_pages(FRAME, path),
    "vectors": lambda path: Embedded([f"i{i}" for i in range(30)], RANDOM.random((30, 4), np.float32)).write(path),
    "history": history,
    "evidence": evidence,
}
FLIPS, CUTS = 200, 40
READERS = ("pd.read_parquet", "pq.read_table", "pq.ParquetFile", "pq.ParquetDataset")


def pages_of(content):
    """Bytes before the footer."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def outcome(path, content, good):
    """`refused` in one line, `same` table, `renamed`: the footer names other columns or types, or `wrong`."""
    path.write_bytes(content)
    try:
        found, told = read_parquet(path), None
    except RunError as error:
        found, told = None, str(error)
    if told is not None:
        return "refused" if "\n" not in told and str(path) in told else "told badly"
    if found.schema.names != good.schema.names or found.schema.types != good.schema.types:
        return "renamed"
    return "same" if found.equals(good) else "wrong"


@pytest.mark.tried("parquet", "fault")
@pytest.mark.parametrize("name", WRITERS)
def test_a_flipped_bit_of_what_we_write_is_found_or_changes_nothing(tmp_path, name, tally):
    path = WRITERS[name](tmp_path / "written.parquet") or tmp_path / "written.parquet"
    content, good, random = path.read_bytes(), read_parquet(path), np.random.default_rng(1)
    found = []
    for place, bit in zip(random.integers(0, len(content), FLIPS), random.integers(0, 8, FLIPS), strict=True):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(bit)
        found.append((outcome(path, bytes(flipped), good), int(place) < pages_of(content)))
    assert ("wrong", True) not in found
    assert ("renamed", True) not in found
    assert ("wrong", False) not in found, "a footer may name other columns or types, which shows, never other values"
    assert found.count(("refused", True)) > 0.7 * sum(in_page for _, in_page in found)
    tally(FLIPS)


@pytest.mark.tried("parquet", "fault")
@pytest.mark.parametrize("name", WRITERS)
def test_what_we_write_and_is_cut_short_is_refused(tmp_path, name, tally):
    path = WRITERS[name](tmp_path / "written.parquet") or tmp_path / "written.parquet"
    content, good = path.read_bytes(), read_parquet(path)
    lengths = np.linspace(0, len(content) - 1, CUTS).astype(int)
    assert {outcome(path, content[:length], good) for length in lengths} == {"refused"}
    tally(CUTS)


@pytest.mark.tried("parquet", "bad_input")
def test_a_file_that_is_none_or_lacks_a_column_is_told(tmp_path):
    with pytest.raises(RunError, match=r"gone\.parquet cannot be read \(.*No such file"):
        read_parquet(tmp_path / "gone.parquet")
    FRAME.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(RunError, match="it has no column value"):
        read_parquet(tmp_path / "p.parquet", ["user", "value"])


def calls(path, names):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
            yield node, ast.unparse(node.func), {keyword.arg for keyword in node.keywords}


def test_every_writer_of_parquet_writes_checksums():
    found = [
        (path.name, node.lineno, "write_page_checksum" in keywords)
        for path in SOURCES
        for node, name, keywords in calls(path, {"to_parquet", "write_table", "ParquetWriter"})
        if name.endswith("to_parquet") or name.startswith("pq.")
    ]
    assert len(found) >= 6
    assert [one for one in found if not one[2]] == []


def test_every_reader_of_parquet_checks_them():
    found = []
    for path in SOURCES:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        checked = {
            id(part)
            for node in nodes
            if isinstance(node, ast.Call) and any(k.arg == "page_checksum_verification" for k in node.keywords)
            for part in (node.func, *node.args)  # a partial's first argument, too
        }
        readers = [node for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node) in READERS]
        found += [(path.name, node.lineno, id(node) in checked) for node in readers]
    assert len(found) >= 4
    assert [one for one in found if not one[2]] == []
