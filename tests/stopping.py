"""Runs that are asked to stop: their command, the signal, and what they leave."""

import json
import os
import signal

from resuming import SMALL


class Stops:
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
