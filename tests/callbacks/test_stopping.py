"""Signals are noted while a step runs and obeyed behind it; SLURM's is handed to Lightning there."""

import os
import signal
import stat

import pytest

from funneltune.callbacks.stopping import StopRequest
from funneltune.cli import main
from funneltune.errors import Interrupted


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_outside_of_training_a_signal_is_obeyed_where_the_program_stands(signum, code):
    before = signal.getsignal(signum)
    with pytest.raises(Interrupted) as caught, StopRequest().listening():
        os.kill(os.getpid(), signum)
    assert (caught.value.code, caught.value.signum) == (code, signum)
    assert signal.getsignal(signum) == before


def test_while_patient_a_signal_is_noted_and_a_second_sigint_obeyed(capsys):
    stop = StopRequest()
    with stop.listening():
        stop.patient = True
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
        assert "SIGTERM: stopping after this step" in capsys.readouterr().err
        os.kill(os.getpid(), signal.SIGINT)  # a terminal's, and the one that a study hands on: two, and not the same
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


def test_lightnings_handlers_in_the_middle_of_a_step_are_replaced(monkeypatch):
    stop = StopRequest()
    called = []
    with stop.listening():
        signal.signal(signal.SIGTERM, lambda *_: called.append("lightning"))
        before = signal.signal(signal.SIGUSR1, lambda *_: called.append("requeue"))
        stop.patient = True
        stop.take()
        stop.take()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert called == []
        assert (stop.signum, stop.requeue_asked) == (signal.SIGTERM, True)
        stop.requeue(signal.SIGUSR1, None)
        assert called == ["requeue"]
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.slow
def test_slurm_queues_a_job_again_behind_a_step_and_the_next_start_goes_on(tmp_path, monkeypatch):
    """With a stand-in for `scontrol`, as no SLURM is here; Lightning's own plugin does the rest."""
    from funneltune.modules import FunnelModule

    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "scontrol"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/queued\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    job = {"NTASKS": "1", "JOB_ID": "77", "JOB_NAME": "train", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    step = FunnelModule.optimizer_step

    def noted(module, *arguments, **keywords):
        step(module, *arguments, **keywords)
        if module.steps_taken == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
        if module.steps_taken == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    small = ["data.source.impressions=600", "data.source.items=100", "data.source.queries=30", "baselines=[]"]
    words = ["train", "quickstart", "tuning=frozen", "debug=tiny", "trainer.max_epochs=1", *small]
    words += [f"run_dir={tmp_path / 'run'}", f"data.cache_dir={tmp_path}", "resume=auto", "data.rows_per_batch=60"]
    with monkeypatch.context() as patched:
        patched.setattr(FunnelModule, "optimizer_step", noted)
        assert main(words) == 143
    assert (tmp_path / "queued").read_text() == "requeue 77\n"
    saved = {path.name for path in (tmp_path / "run").rglob("*.ckpt")}
    assert saved == {"step-2.ckpt", "step-4.ckpt"}  # Lightning's own copy, hpc_ckpt_1.ckpt, is gone again
    assert main(words) == 0
