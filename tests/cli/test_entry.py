import os
import signal
import subprocess
import sys
import time

import pytest
from hydra.errors import InstantiationException

import funneltune.cli.launch  # noqa: F401 (it must not first be imported while its parts are replaced)
from funneltune.cli import entry, main
from funneltune.errors import FailedRunError, TuningError


def raising(error):
    def run(*arguments):
        raise error

    return run


@pytest.fixture
def verb_that_raises(monkeypatch):
    def install(error):
        import dataclasses

        verbs = {**entry.VERBS, "train": dataclasses.replace(entry.VERBS["train"], run=raising(error))}
        monkeypatch.setattr(entry, "VERBS", verbs)

    return install


def test_help_names_every_verb_with_an_example(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, verb in entry.VERBS.items():
        assert f"  {name}" in shown
        assert verb.examples[0] in shown
    assert main([]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("name", sorted(entry.VERBS))
def test_every_verb_has_help_with_its_keys(name, capsys):
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    verb = entry.VERBS[name]
    assert all(example in shown for example in verb.examples)
    assert all(f"  {key} " in shown for key in verb.keys)
    assert all(example.startswith(f"funneltune {name}") for example in verb.examples)


def test_help_of_train_shows_groups_with_their_choices_and_a_users_own(capsys, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("name: mine\n")
    assert main(["train", "--help", "--config-dir", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "adalora, bitfit, dora, frozen, full, fusion, houlsby" in shown
    assert " mine," in shown  # in its alphabetical place among ours
    assert "initial weights, order of rows, dropout (default 0)" in shown


def test_help_comes_at_once_and_without_torch():
    code = (
        "import sys; from funneltune.cli import main; status = main(['study', '--help']);"
        "heavy = {'torch', 'lightning', 'transformers', 'hydra'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else status)"
    )
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - begun < 5  # 0.1 s on a free machine; the limit leaves room for a busy one


def test_python_dash_m_is_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "funneltune", "--version"], check=False, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, b"funneltune")


def test_an_unknown_verb_names_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err.startswith("error: trian is no verb, nearest: train;")


def test_our_error_is_one_line_and_status_2(verb_that_raises, capsys):
    verb_that_raises(TuningError("tuning.x=1 breaks\n  a rule."))
    assert main(["train"]) == 2
    assert capsys.readouterr().err == "error: tuning.x=1 breaks a rule.\n"


def test_what_was_rightly_asked_for_and_failed_is_one_line_and_status_1(verb_that_raises, capsys):
    verb_that_raises(FailedRunError("the disk is full;\nmake room."))
    assert main(["train"]) == 1
    assert capsys.readouterr().err == "error: the disk is full; make room.\n"


def test_our_error_that_hydra_wrapped_while_building_an_object_is_told_alike(verb_that_raises, capsys):
    wrapped = InstantiationException("Error in call to target")
    wrapped.__cause__ = TuningError("tuning.target_rank=0 must be at least 1; raise it.")
    verb_that_raises(wrapped)
    assert main(["train"]) == 2
    assert capsys.readouterr().err == "error: tuning.target_rank=0 must be at least 1; raise it.\n"


def test_an_interrupt_is_status_130(verb_that_raises, capsys):
    verb_that_raises(KeyboardInterrupt())
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", [["train"], ["study", "quickstart"]])
def test_a_signal_in_the_set_up_says_that_nothing_was_saved(words, signum, monkeypatch, capsys):
    monkeypatch.setattr("funneltune.cli.compose.compose_config", lambda *_, **__: os.kill(os.getpid(), signum))
    assert main(words) == 128 + signum
    told = f"stopped by {signum.name} before anything was saved; give the same command again\n"
    assert capsys.readouterr().err == told


@pytest.mark.tried("sigterm", "resume")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["resume=k"], "; the same command goes on from step 12"),
        (["resume=auto", "run_dir=k"], "; the same command goes on from step 12"),
        (["resume=other"], "; give the same command again"),
        (["resume=auto"], "; give the same command again"),
    ],
)
def test_a_signal_before_a_run_goes_on_says_what_is_there(words, told, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k" / "checkpoints").mkdir(parents=True)
    for name in ("step-5.ckpt.sha256", "step-12.ckpt.sha256", "step-20.ckpt", "best-30.ckpt.sha256"):
        (tmp_path / "k" / "checkpoints" / name).touch()
    monkeypatch.setattr("funneltune.cli.train.composed", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["train", *words]) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == f"stopped by SIGTERM before anything new was saved{told}\n"


def test_a_study_that_is_interrupted_between_cells_says_that_the_same_command_goes_on(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("funneltune.cli.launch.launch", raising(KeyboardInterrupt()))
    assert main(["study", "quickstart"]) == 130
    assert "stopped by SIGINT; the same command goes on, with what is finished kept" in capsys.readouterr().err


def test_a_fault_of_ours_keeps_its_traceback(verb_that_raises):
    verb_that_raises(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["train"])


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--config-dir", "."]])
def test_flags_about_configs_are_refused_where_no_config_is_composed(flags, capsys):
    assert main(["report", ".", *flags]) == 2
    assert "report composes no config" in capsys.readouterr().err
