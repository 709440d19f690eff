"""An interrupted run goes on to the end that it would have had."""

import os
import shutil
import signal

import pandas as pd
import pytest

from funneltune.cli import main
from funneltune.cli.compose import compose_config
from funneltune.errors import Interrupted, LostProcessError
from funneltune.files import locked
from funneltune.runs import train
from funneltune.runs.folder import earlier_run, newest_unfinished
from funneltune.runs.recording import with_way_on
from stopping import Stops, record, words


@pytest.fixture(scope="module")
def alone(cache, tmp_path_factory):
    """A run that was left alone."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(compose_config(words(cache)), folder)
    return folder


def same(run, other):
    a, b = record(run), record(other)
    assert a["metrics"] == b["metrics"]
    assert a["rank_pattern"] == b["rank_pattern"]
    for name in ("weights/trained.safetensors", "statistics.npz"):
        assert (run / name).read_bytes() == (other / name).read_bytes()
    pd.testing.assert_frame_equal(*(pd.read_parquet(folder / "history.parquet") for folder in (run, other)))


@pytest.mark.tried("kill_mid_epoch", "resume")
def test_a_stopped_run_says_so_and_goes_on_to_the_end_that_it_would_have_had(stopped, alone, cache):
    left = record(stopped)
    assert left["status"] == "interrupted"
    assert left["error"] == f"stopped by SIGTERM, saved at step 5; go on with: funneltune train resume={stopped}"
    train(compose_config(words(cache, "resume=auto")), stopped)
    same(stopped, alone)
    (resumed,) = record(stopped)["resumed"]
    assert (resumed["step"], resumed["changed"]) == (5, [])
    assert record(stopped)["started"] == left["started"]
    assert record(stopped)["config"]["resume"] is None
    assert "resume: null" in (stopped / "config.yaml").read_text()


@pytest.mark.tried("kill_mid_epoch", "resume")
def test_the_folder_alone_is_enough_to_go_on(stopped, alone, monkeypatch, capsys):
    monkeypatch.chdir(stopped.parent)
    assert main(["train", "resume=run"]) == 0
    shown = capsys.readouterr()
    assert "record: run/record.json" in shown.out
    assert "run goes on from step 5\n" in shown.err
    same(stopped, alone)
    assert main(["train", "resume=run"]) == 0  # finished: the table again, nothing is trained
    assert capsys.readouterr().err == "run is finished already: nothing is trained\n"
    assert len(record(stopped)["resumed"]) == 1


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.tried("sigterm", "fault")
def test_signals_end_the_command_with_the_shells_status_and_the_command_that_goes_on(
    signum, code, cache, tmp_path, monkeypatch, capsys
):
    Stops(monkeypatch, 4, signum)
    assert main(["train", *words(cache, f"run_dir={tmp_path / 'run'}")]) == code
    told = capsys.readouterr().err.strip().splitlines()[-1]
    name = signal.Signals(signum).name
    assert told == f"stopped by {name}, saved at step 4; go on with: funneltune train resume={tmp_path / 'run'}"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


@pytest.mark.slow
@pytest.mark.tried("sigterm", "fault")
def test_a_stop_in_a_validation_is_obeyed_at_once_and_loses_one_step(alone, cache, tmp_path, monkeypatch):
    from funneltune.modules import FunnelModule

    step = FunnelModule.validation_step

    def noted(module, *arguments):
        if module.trainer.global_step == 6 and module.trainer.state.fn == "fit":
            os.kill(os.getpid(), signal.SIGTERM)
        return step(module, *arguments)

    small = ["data.eval_rows_per_batch=5"]
    with monkeypatch.context() as patched:
        patched.setattr(FunnelModule, "validation_step", noted)
        with pytest.raises(Interrupted, match="saved at step 5"):
            train(compose_config(words(cache, *small)), tmp_path / "run")
    train(compose_config(words(cache, *small, "resume=auto")), tmp_path / "run")
    assert (tmp_path / "run/weights/trained.safetensors").read_bytes() == (
        alone / "weights/trained.safetensors"
    ).read_bytes()


@pytest.mark.tried("sigterm", "resume")
def test_a_run_that_was_stopped_while_it_tested_goes_on_to_the_same_end(alone, cache, tmp_path, monkeypatch):
    from funneltune.modules import FunnelModule

    def noted(module, *arguments):
        raise Interrupted(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(FunnelModule, "test_step", noted)
        with pytest.raises(Interrupted):
            train(compose_config(words(cache)), tmp_path / "run")
    assert record(tmp_path / "run")["status"] == "interrupted"
    train(compose_config(words(cache, "resume=auto")), tmp_path / "run")
    same(tmp_path / "run", alone)


@pytest.mark.tried("sigterm", "fault")
def test_a_second_sigint_ends_at_once(cache, tmp_path, monkeypatch, capsys):
    from funneltune.modules import FunnelModule

    def hang(module, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError

    monkeypatch.setattr(FunnelModule, "training_step", hang)
    assert main(["train", *words(cache, f"run_dir={tmp_path / 'run'}")]) == 130
    assert "before its first checkpoint; go on with" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.tried("kill_mid_epoch", "resume")
def test_a_folder_that_was_moved_goes_on_from_anywhere(stopped, alone, tmp_path_factory, monkeypatch):
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    stopped.rename(moved)
    (moved.parent / "sub").mkdir()
    monkeypatch.chdir(moved.parent / "sub")
    assert main(["train", "resume=../moved"]) == 0
    same(moved, alone)


@pytest.mark.tried("kill_mid_epoch", "resume")
def test_the_whole_command_with_the_folder_goes_on_too(stopped, alone, cache):
    assert main(["train", *words(cache, f"resume={stopped}")]) == 0
    same(stopped, alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "config.yaml is missing"), ("", "config.yaml holds no config"), ("a: [1", "config.yaml cannot be read")],
)
@pytest.mark.tried("truncated_checkpoint", "fault")
def test_a_config_that_is_lost_is_named_with_the_way_on(stopped, alone, cache, content, message, capsys):
    (stopped / "config.yaml").unlink()
    if content is not None:
        (stopped / "config.yaml").write_text(content)
    assert main(["train", f"resume={stopped}"]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert f"run_dir={stopped} resume=auto" in told
    assert main(["train", *words(cache, f"run_dir={stopped}", "resume=auto")]) == 0
    same(stopped, alone)


def test_how_a_run_is_watched_may_differ(stopped, alone, cache):
    train(compose_config(words(cache, "resume=auto", "logger=csv", "callbacks.checkpoint.keep=3")), stopped)
    same(stopped, alone)
    assert (stopped / "csv" / "resumed_1" / "metrics.csv").is_file()


@pytest.mark.tried("truncated_checkpoint", "resume")
def test_a_damaged_newest_checkpoint_falls_back_and_ends_alike(stopped, alone, cache, capfd):
    newest = stopped / "checkpoints" / "step-5.ckpt"
    (older,) = set((stopped / "checkpoints").glob("*.ckpt")) - {newest}
    newest.write_bytes(newest.read_bytes()[:-1000])
    train(compose_config(words(cache, "resume=auto")), stopped)
    same(stopped, alone)
    assert record(stopped)["resumed"][0]["step"] == int(older.stem.rpartition("-")[2]) < 5


def test_a_run_without_a_checkpoint_begins_again_in_its_folder(stopped, alone, cache, capsys):
    shutil.rmtree(stopped / "checkpoints")
    train(compose_config(words(cache, "resume=auto")), stopped)
    assert f"{stopped} begins again: it left no checkpoint\n" in capsys.readouterr().err
    same(stopped, alone)
    assert record(stopped)["resumed"][0]["step"] == 0


@pytest.mark.tried("truncated_checkpoint", "resume")
def test_checkpoints_that_lost_their_sums_are_not_called_none(stopped, cache):
    for path in (stopped / "checkpoints").glob("*.sha256"):
        path.unlink()
    found = earlier_run(compose_config(words(cache, "resume=auto")), stopped)
    assert found.in_words == "begins again: it left no checkpoint that can be trusted"


def test_a_lost_process_is_told_with_its_way_on_in_one_sentence(stopped):
    with pytest.raises(LostProcessError) as caught, with_way_on(stopped):
        raise LostProcessError("rank 1 is gone (its log shows where).")
    assert str(caught.value).startswith("rank 1 is gone (its log shows where); saved at step 5; go on with: ")


@pytest.mark.slow
def test_auto_finds_the_newest_unfinished_run_of_this_very_config(stopped, cache, monkeypatch, capsys):
    monkeypatch.chdir(stopped.parent)
    cfg = compose_config(words(cache, "resume=auto"))
    assert newest_unfinished(stopped.parent, cfg) == stopped
    assert newest_unfinished(stopped.parent, compose_config(words(cache, "seed=1"))) is None
    with locked(stopped):
        assert newest_unfinished(stopped.parent, cfg) is None
    runs = stopped.parent / "runs" / "train"
    runs.mkdir(parents=True)
    stopped.rename(runs / "2020-01-01_00-00-00")
    assert main(["train", *words(cache, "resume=auto")]) == 0
    assert "runs/train/2020-01-01_00-00-00 goes on from step 5\n" in capsys.readouterr().err
    assert [path.name for path in runs.iterdir()] == ["2020-01-01_00-00-00"]
    assert record(runs / "2020-01-01_00-00-00")["status"] == "finished"
    assert main(["train", *words(cache, "resume=auto", "seed=1", "trainer.max_steps=4")]) == 0
    assert len(list(runs.iterdir())) == 2


def test_a_new_folder_is_begun_by_auto(cache, tmp_path):
    assert earlier_run(compose_config(words(cache, "resume=auto")), tmp_path / "new") is None
