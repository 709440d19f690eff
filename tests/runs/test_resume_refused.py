"""What may differ when an interrupted run goes on, and what is refused in one line."""

import pytest

from funneltune.cli import main
from funneltune.cli.compose import compose_config
from funneltune.errors import ConfigError, RunError
from funneltune.files import locked
from funneltune.runs import train
from stopping import record, words


def test_single_values_beside_a_folder_change_the_runs_own_config(stopped, capsys):
    assert main(["train", f"resume={stopped}", "trainer.gradient_clip_val=0.5"]) == 2
    told = capsys.readouterr().err
    assert "trainer.gradient_clip_val was 1.0, is 0.5. Give" in told  # and nothing else differs
    more = ["trainer.gradient_clip_val=0.5", "resume_changes=[trainer.gradient_clip_val]"]
    assert main(["train", f"resume={stopped}", "tuning.alpa=1", *more]) == 2
    assert "tuning.alpa is no key of the run in" in capsys.readouterr().err
    assert main(["train", f"resume={stopped}", *more]) == 0
    assert record(stopped)["resumed"][0]["changed"] == ["trainer.gradient_clip_val was 1.0, is 0.5"]


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


@pytest.mark.tried("two_runs_one_folder", "fault")
def test_two_runs_never_write_one_folder(stopped, cache):
    with locked(stopped), pytest.raises(RunError, match="is being written by another run"):
        train(compose_config(words(cache, "resume=auto")), stopped)
    with pytest.raises(RunError, match=r"exists and is not empty; .* go on with its run: resume=auto"):
        train(compose_config(words(cache)), stopped)


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
