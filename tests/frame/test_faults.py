"""The count of what was tried: marks, tallies, failures, and rows that nothing tries."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults.__main__ import KEYS, by_row, counts, markdown
from faults.rows import KINDS, ROWS
from faults.tally import pytest_itemcollected

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.mark.tried("bit_flip", "fault")
@pytest.mark.parametrize("bit", [0, 1, 2])
def test_flips(bit):
    assert bit < 2

@pytest.mark.tried("bad_table", "fuzz")
def test_many(tally):
    tally(500)

@pytest.mark.tried("secrets", "canary")
@pytest.mark.tried("persons", "canary")
def test_two_rows(tally):
    tally(4)

@pytest.mark.tried("parquet", "fault")
@pytest.mark.skip(reason="not here")
def test_skipped():
    pass

@pytest.fixture
def broken():
    raise RuntimeError

@pytest.mark.tried("one_class", "fault")
def test_that_cannot_begin(broken):
    pass

def test_unmarked():
    pass
"""


def session(folder, tests):
    (folder / "conftest.py").write_text("from faults.tally import pytest_configure, pytest_itemcollected, tally\n")
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\nmarkers = tried(row, kind)\n")
    (folder / "test_it.py").write_text(tests)
    ledger = folder / "cases.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        "-c",
        "pytest.ini",
        ".",
    ]
    env = os.environ | {"FUNNELTUNE_FAULTS": str(ledger)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done, json.loads(ledger.read_text()) if ledger.is_file() else None


def test_cases_of_all_workers_are_counted_by_row_and_kind(tmp_path):
    done, cases = session(tmp_path, TESTS)
    assert done.returncode == 1
    assert by_row(cases) == {
        "bit_flip": {"fault": [2, 3]},
        "bad_table": {"fuzz": [500, 500]},
        "secrets": {"canary": [4, 4]},
        "persons": {"canary": [4, 4]},
        "one_class": {"fault": [0, 1]},
    }
    found = counts(cases)
    assert (found["faults_survived"], found["faults_injected"]) == (2, 4)
    assert (found["canaries_planted"], found["canaries_found"]) == (8, 0)
    assert found["leaks_planted"] == 0


def test_a_canary_that_is_found_is_counted():
    cases = [{"row": "secrets", "kind": "canary", "test": "t", "tried": 3, "held": held} for held in (True, False)]
    assert counts(cases)["canaries_found"] == 3


@pytest.mark.parametrize("words", [("bit_flop", "fault"), ("bit_flip", "faults"), ("bit_flip",)])
def test_a_mark_that_names_no_row_or_kind_is_refused(words):
    item = SimpleNamespace(nodeid="t", user_properties=[], iter_markers=lambda name: [pytest.mark.tried(*words).mark])
    with pytest.raises(pytest.UsageError, match=r"t: tried.* must be \(row, kind\); rows: kill_mid_epoch"):
        pytest_itemcollected(item)


def test_every_kind_has_its_keys_and_every_row_a_meaning():
    assert set(KEYS) == set(KINDS)
    assert all(ROWS.values())


def test_the_page_tells_every_row_and_what_was_not_tried():
    page = markdown([{"row": "secrets", "kind": "bad_input", "test": "t", "tried": 3, "held": True}])
    assert "| `secrets` | a secret gets into a config, log, record, checkpoint or W&B | bad input 3/3 |" in page
    assert all(f"| `{row}` |" in page for row in ROWS)
    assert page.count("| nothing |") == len(ROWS) - 1
    assert "- a real SLURM: " in page
