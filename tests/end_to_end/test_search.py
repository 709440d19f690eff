"""A search of real, small runs: validated while they train, never tested, cut off and taken up."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import funneltune
from funneltune.cli import main
from funneltune.errors import ConfigError
from funneltune.records import RunRecord

WORDS = [
    "search",
    "quickstart",
    "debug=tiny",
    "data.source.impressions=2400",
    "data.source.items=300",
    "data.source.ctr=0.2",
    "data.source.cvr=0.3",
    "data.rows_per_batch=40",  # two requests: four batches and more of a quarter of the training requests
    "data.split.by=request",
    "data.split.validation=0.3",
    "trainer.limit_train_batches=4",
    "baselines=[bm25]",
    "search.trials=2",
]


@pytest.mark.slow
def test_trials_are_validated_four_times_and_never_tested(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "search_dir=here"]) == 0
    content = json.loads((tmp_path / "here" / "search.json").read_text())
    for trial in content["trials"]:
        folder = tmp_path / "here" / trial["folder"]
        record = RunRecord.read(folder / "record.json")
        assert (trial["status"], record.status) == ("finished", "finished")
        assert trial["values"] == [record.value("ctcvr/auc", "validation")]
        assert list(trial["validations"]) == ["1", "2", "3", "4"]
        assert trial["validations"]["4"] == pytest.approx(trial["values"][0])
        assert set(record.metrics) == {"validation"}
        assert record.baselines == {}
        assert not list(folder.glob("predictions*"))
        assert not list(folder.glob("statistics*"))
        assert not (folder / "checkpoints").exists()
        assert "test=false" in record.command
    capsys.readouterr()
    table = funneltune.search(*WORDS[1:], search_dir="here")  # the same search from Python: nothing is left to run
    assert "trial 0 of 2" not in capsys.readouterr().err
    assert table["validation/ctcvr/auc"].tolist() == [trial["values"][0] for trial in content["trials"]]
    assert table.index[table.best].tolist() == content["best"]
    assert table[table.best].command.tolist() == [content["commands"][str(number)] for number in content["best"]]
    assert list(table.columns[: len(content["trials"][0]["params"])]) == list(content["trials"][0]["params"])
    with pytest.raises(ConfigError, match="quickstrt"):
        funneltune.search("quickstrt")


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_a_search_that_is_cut_off_ends_as_one_that_was_not(tmp_path, signum):
    command = [sys.executable, "-m", "funneltune", *WORDS, "trainer.limit_train_batches=12"]
    command.remove("trainer.limit_train_batches=4")
    subprocess.run([*command, "search_dir=whole"], cwd=tmp_path, check=True, capture_output=True)
    with subprocess.Popen(
        [*command, "search_dir=cut"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as cut:
        while not list((tmp_path / "cut/trials/1").glob("checkpoints/step-*.ckpt.sha256")):  # which makes it whole
            assert cut.poll() is None
            time.sleep(0.05)
        os.kill(cut.pid, signum)
        _, said = cut.communicate()
    if signum == signal.SIGTERM:
        assert cut.returncode == 143
        assert b"the same command goes on" in said
    done = subprocess.run([*command, "search_dir=cut"], cwd=tmp_path, check=True, capture_output=True)
    assert b"trials/1 goes on from step" in done.stderr
    whole, again = (json.loads((tmp_path / name / "search.json").read_text()) for name in ("whole", "cut"))
    assert again["trials"] == whole["trials"]
