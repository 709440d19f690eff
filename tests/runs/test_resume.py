"""An interrupted run goes on to the end that it would have had; or says in one line why it cannot."""

import json
import os
import shutil
import signal

import pytest

from funneltune.cli import main
from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError, Interrupted, RunError
from funneltune.files import locked
from funneltune.runs import train
from funneltune.runs.folder import earlier_run, newest_unfinished
from resuming import SMALL


class _Stops:
    """Asks a run to stop, as a signal does, when it has taken so many steps."""

    def __init__(self, monkeypatch, at, signum=signal.SIGTERM):
        from funneltune.modules import FunnelModule

        step = FunnelModule.optimizer_step

        def noted(module, *arguments, **keywords):
            step(module, *arguments, **keywords)
            if module.steps_taken == at:
                os.kill(os.getpid(), signum)

        monkeypatch.setattr(FunnelModule, "optimizer_step", noted)


def words(cache, *more):
    return [
        *("data=simulated", "tuning=adalora", "tuning.target_rank=1", "tuning.initial_rank=2"),
        *(word for word in SMALL if not word.startswith(("callbacks.", "~", "select="))),
        *(f"data.cache_dir={cache}", "trainer.precision=32-true"),
        *more,
    ]


def record(folder):
    return json.loads((folder / "record.json").read_text())


@pytest.fixture(scope="module")
def alone(cache, tmp_path_factory):
    """A run that was left alone."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(compose_config(words(cache)), folder)
    return folder


@pytest.fixture
def stopped(cache, tmp_path, monkeypatch):
    """A run that was stopped after five steps, and took a checkpoint there."""
    with monkeypatch.context() as patched:
        _Stops(patched, 5)
        with pytest.raises(Interrupted) as caught:
            train(compose_config(words(cache)), tmp_path / "run")
    assert caught.value.code == 143
    return tmp_path / "run"


def same(run, other):
    a, b = record(run), record(other)
    assert a["metrics"] == b["metrics"]
    assert a["rank_pattern"] == b["rank_pattern"]
    for name in ("weights/trained.safetensors", "statistics.npz"):
        assert (run / name).read_bytes() == (other / name).read_bytes()


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
    _Stops(monkeypatch, 4, signum)
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


def test_single_values_beside_a_folder_change_the_runs_own_config(stopped, capsys):
    assert main(["train", f"resume={stopped}", "trainer.gradient_clip_val=0.5"]) == 2
    told = capsys.readouterr().err
    assert "trainer.gradient_clip_val was 1.0, is 0.5. Give" in told  # and nothing else differs
    more = ["trainer.gradient_clip_val=0.5", "resume_changes=[trainer.gradient_clip_val]"]
    assert main(["train", f"resume={stopped}", "tuning.alpa=1", *more]) == 2
    assert "tuning.alpa is no key of the run in" in capsys.readouterr().err
    assert main(["train", f"resume={stopped}", *more]) == 0
    assert record(stopped)["resumed"][0]["changed"] == ["trainer.gradient_clip_val was 1.0, is 0.5"]


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


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 1'])
@pytest.mark.tried("truncated_checkpoint", "fault")
def test_a_record_that_is_lost_is_named_with_the_one_way_on_there_is(stopped, cache, content, capsys):
    (stopped / "record.json").write_text(content)
    (stopped / "config.yaml").write_text("")
    for given in ([f"resume={stopped}"], words(cache, f"run_dir={stopped}", "resume=auto")):
        assert main(["train", *given]) == 2
        told = capsys.readouterr().err
        assert f"{stopped / 'record.json'} cannot be read as JSON" in told
        assert f"restore it from a copy, or remove {stopped} and train that run again" in told


@pytest.mark.tried("bad_config", "bad_input")
def test_a_folder_of_other_files_is_no_run(cache, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["train", *words(cache, f"run_dir={tmp_path}", "resume=auto")]) == 2
    assert f"run_dir={tmp_path} is not empty and holds no run (no record.json); name another" in capsys.readouterr().err


@pytest.mark.tried("reproducibility", "fault")
def test_a_changed_config_is_refused_with_what_differs(stopped, cache):
    cfg = compose_config(words(cache, "resume=auto", "seed=3", "tuning.alpha=8", "~optimizer.eps"))
    with pytest.raises(RunError) as caught:
        train(cfg, stopped)
    told = str(caught.value)
    for one in ("seed was 0, is 3", "tuning.alpha was 32.0, is 8", "optimizer.eps was 1e-08, is absent"):
        assert one in told
    assert "resume_changes=[seed]" in told
    assert record(stopped)["status"] == "interrupted"


def test_a_field_may_differ_where_one_says_so_and_the_record_tells(stopped, cache):
    cfg = compose_config(words(cache, "resume=auto", "trainer.gradient_clip_val=0.5", "resume_changes=[trainer]"))
    train(cfg, stopped)
    (resumed,) = record(stopped)["resumed"]
    assert resumed["changed"] == ["trainer.gradient_clip_val was 1.0, is 0.5"]
    assert record(stopped)["config"]["trainer"]["gradient_clip_val"] == 0.5
    assert "gradient_clip_val: 0.5" in (stopped / "config.yaml").read_text()


@pytest.mark.tried("reproducibility", "fault")
def test_another_log_is_refused(stopped, cache):
    changes = ["data.source.impressions=301", "resume_changes=[data.source.impressions]"]
    with pytest.raises(RunError, match="began on another log"):
        train(compose_config([*words(cache, "resume=auto"), *changes]), stopped)


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


@pytest.mark.tried("two_runs_one_folder", "fault")
def test_two_runs_never_write_one_folder(stopped, cache):
    with locked(stopped), pytest.raises(RunError, match="is being written by another run"):
        train(compose_config(words(cache, "resume=auto")), stopped)
    with pytest.raises(RunError, match=r"exists and is not empty; .* go on with its run: resume=auto"):
        train(compose_config(words(cache)), stopped)


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["resume=nowhere"], "resume=nowhere holds no record.json; name auto, or the folder"),
        (["resume=never"], "resume=never holds no record.json; name auto, or the folder"),
        (["resume="], "resume='' must be auto, the folder of a run, or null"),
        (["resume=https://example.org/run"], "is an address"),
        (["resume=a", "run_dir=b"], "resume=a and run_dir=b name two folders"),
        (["skip_nonfinite=-1"], "skip_nonfinite=-1 must be a whole number >= 0"),
        (["resume_changes=[trainer.max_epoch]"], "no key of the config (nearest: trainer.max_epochs)"),
        ([f"run_dir={__file__}"], "is a file; name a folder"),
        (["callbacks.checkpoint.every_minutes=abc"], "callbacks.checkpoint.every_minutes='abc' must be a number"),
        (["callbacks.checkpoint.every_minutes=.nan"], "callbacks.checkpoint.every_minutes='.nan' must be a number"),
        (["callbacks.checkpoint.keep=0"], "callbacks.checkpoint.keep=0 must be above 0."),
        (["callbacks.checkpoint.mode=most"], "callbacks.checkpoint.mode='most' must be max or min"),
        (["callbacks.checkpoint.select=first"], "callbacks.checkpoint.select='first' must be best or last"),
        (["callbacks.checkpoint.monitor=nope"], "callbacks.checkpoint.monitor='nope' must begin with validation/"),
    ],
)
@pytest.mark.tried("bad_config", "bad_input")
def test_what_cannot_be_meant_is_told_in_one_line(given, message, tmp_path, monkeypatch, capsys, cache):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words(cache), *given]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_early_stopping_is_part_of_what_a_run_is():
    from funneltune.runs import config_hash

    plain, early = compose_config([]), compose_config(["callbacks=early_stopping"])
    patient = compose_config(["callbacks=early_stopping", "callbacks.early_stopping.patience=9"])
    assert len({config_hash(cfg) for cfg in (plain, early, patient)}) == 3
    assert config_hash(compose_config(["callbacks.checkpoint.keep=5"])) == config_hash(plain)
    assert config_hash(compose_config(["resume=auto", "resume_changes=[seed]"])) == config_hash(plain)


def test_a_monitor_that_is_undefined_selects_nothing(cache, tmp_path):
    cfg = compose_config(words(cache, "select=best", "data.source.ctr=0.01", "data.source.cvr=0.01"))
    with pytest.raises(ConfigError, match=r"'validation/ctcvr/auc' is undefined on the validation split \(every label"):
        train(cfg, tmp_path / "run")
