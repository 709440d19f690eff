"""Real SIGKILLs at random moments. `python tests/killing.py` does the same as often as one likes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "killing.py"
ELSEWHERE = Path("/dev/shm")


def killed(what, kills, folder, seed=0):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), what, str(kills), str(folder), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.tried("kill_during_save", "fault")
def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path, tally):
    tally(4)
    assert killed("saves", 4, tmp_path) == {"kills": 4, "loadable": 4}


@pytest.mark.slow
@pytest.mark.skipif(not ELSEWHERE.is_dir(), reason="no second disk: /dev/shm is not there")
@pytest.mark.tried("kill_during_save", "fault")
def test_so_it_does_where_the_run_lies_on_another_disk_than_the_temporary_folder(tmp_path_factory, tally):
    tally(10)
    import tempfile

    with tempfile.TemporaryDirectory(dir=ELSEWHERE) as folder:
        assert killed("saves", 10, folder) == {"kills": 10, "loadable": 10}


@pytest.mark.slow
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_runs_that_are_killed_at_random_end_as_one_that_was_left_alone(tmp_path, tally):
    tally(5)
    found = killed("runs", 5, tmp_path)
    assert found["kills"] == 5
    assert found["runs like the one left alone"] == found["runs"]


@pytest.mark.slow
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_a_study_that_is_killed_three_times_ends_with_the_table_of_one_that_was_left_alone(tmp_path, tally):
    tally(3)
    found = killed("study", 3, tmp_path)
    assert found == {"kills": 3, "cells": 4, "cells alike": 4, "tables alike": True}
