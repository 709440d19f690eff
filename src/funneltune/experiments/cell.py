"""One cell of a study, run where the launcher puts it: this process, a joblib worker, a node of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from funneltune.errors import FailedRunError, Interrupted, NoMemoryError
from funneltune.experiments import progress
from funneltune.experiments.faults import user_fault
from funneltune.experiments.state import StudyState
from funneltune.records import RECORD_NAME, TRIALS_NAME, RunRecord
from funneltune.secrets import redacted

RANKS = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "FUNNELTUNE_RUN_DIR", "FUNNELTUNE_RESUME_FROM")
MISTAKE = 2
"""Exit status of a command that was wrongly asked for."""


@dataclass(frozen=True)
class CellTask:
    """What the launcher calls with each cell's config. It returns how the cell ended, and raises nothing of its own.

    A failed cell is written down and does not stop the others; an interrupt does.
    """

    folder: Path
    """The study's."""
    config_dir: Path | None = None
    train: Callable[[DictConfig, Path], Any] | None = None
    """Trains a config into a folder; `funneltune.runs.train` where it is None."""
    began: float = field(default_factory=time.time)

    def __call__(self, cfg: DictConfig) -> str:
        """Run the cell whose folder is `cfg.run_dir` and return its status."""
        _take_own_cores()
        run_dir = Path(cfg.run_dir)
        cell = run_dir.relative_to(self.folder).as_posix()
        overrides = [str(override) for override in HydraConfig.get().overrides.task]
        state = StudyState(self.folder)
        now = state.mark(cell, "running")
        progress.starts(now, cell)
        name_in_wandb(cfg, now, cell)
        cfg.study, cfg.run_dir = None, None
        cfg.resume = None if cfg.resume == "never" else "auto"
        error: str | None = None
        again = False
        try:
            own = [o for o in overrides if not o.startswith("resume=")]
            with as_train_command([*own, *(["resume=auto"] if cfg.resume else [])]):
                if self.train is None and needs_own_process(cfg):
                    error, again = _in_own_process(run_dir, self.config_dir)
                else:
                    self._trainer()(cfg, run_dir)
        except Exception as fault:
            mendable = user_fault(fault)
            if mendable is None:
                sys.stderr.write(redacted(traceback.format_exc()))
            error = redacted(" ".join(str(mendable or f"{type(fault).__name__}: {fault}").split()))
            again = mendable is None or (isinstance(mendable, FailedRunError) and mendable.retry)
        except BaseException:
            state.mark(cell, "interrupted")
            raise
        finally:
            finish_wandb()
        status = "finished" if error is None else "failed"
        progress.ends(state.mark(cell, status, error, again), self.folder, cell, time.time() - self.began)
        return status

    def _trainer(self) -> Callable[[DictConfig, Path], Any]:
        if self.train is not None:
            return self.train
        from funneltune import runs

        return runs.train


def _take_own_cores() -> None:
    """As many threads as the launcher grants a cell, or each of its cells' share of the machine: cells that share a
    machine's cores with more threads than cores slow one another manifold.
    """
    launcher = HydraConfig.get().launcher
    jobs = launcher.get("n_jobs")
    granted = launcher.get("cpus_per_task")
    if jobs and not granted:
        cores = len(os.sched_getaffinity(0))
        granted = max(1, cores // (cores if jobs < 0 else jobs))
    if granted:
        import torch

        torch.set_num_threads(int(granted))


def name_in_wandb(cfg: DictConfig, state: Mapping[str, Any], cell: str) -> None:
    """A study is a group of W&B, and each of its runs is called as its cell, unless the config names them."""
    node = (cfg.get("logger") or {}).get("wandb")
    if node is None:
        return
    with open_dict(node):
        node.group = node.get("group") or state["study"]["name"]
        node.name = node.get("name") or " ".join(cell.partition("/")[2].split("/"))
        if cell.startswith(TRIALS_NAME):
            node.tags = [*(node.get("tags") or []), "trial"]


def needs_own_process(cfg: DictConfig) -> bool:
    """Whether the trainer starts further processes: they replay the command line, which must be the cell's own."""
    trainer = cfg.trainer
    devices = trainer.get("devices", 1)
    several = devices not in (1, "1", [0]) and not (devices == "auto" and trainer.get("accelerator") == "cpu")
    return several or int(trainer.get("num_nodes", 1)) > 1 or "ddp" in str(trainer.get("strategy", ""))


def as_train_command(overrides: list[str]) -> AbstractContextManager[None]:
    """Let the record name the command that trains this cell alone."""
    return as_command(["train", *overrides])


@contextmanager
def as_command(words: Sequence[str]) -> Iterator[None]:
    """Meanwhile the program was called with these words: records and messages name the command."""
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before


def _in_own_process(run_dir: Path, config_dir: Path | None) -> tuple[str | None, bool]:
    """Train as `funneltune train` would; the error's line, or None, and whether another attempt may do better."""
    command = [sys.executable, "-m", "funneltune", *sys.argv[1:]]
    if config_dir is not None:
        command += ["--config-dir", str(config_dir)]
    # A launcher's variables would make the child take itself for one of its ranks.
    environment = {k: v for k, v in os.environ.items() if k not in RANKS}
    returncode, said = _patiently(command, environment)
    if returncode == 0:
        return None, False
    if returncode in {128 + signal.SIGTERM, 128 + signal.SIGINT}:
        raise Interrupted(returncode - 128)
    sys.stderr.write(said)
    record = run_dir / RECORD_NAME
    told = RunRecord.read(record).error if record.is_file() else None
    last = (said.strip().splitlines() or [f"exit status {returncode}"])[-1]
    again = returncode != MISTAKE and not (told or "").startswith(NoMemoryError.__name__)
    return told or last.removeprefix("error: "), again


def _patiently(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command and wait for it; where this process is asked to stop, so is the command, which saves first."""
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, said = process.communicate()
        except (Interrupted, KeyboardInterrupt):
            process.send_signal(signal.SIGTERM)  # a terminal's SIGINT has reached it already; this is no second one
            _, said = process.communicate()
            sys.stderr.write(said)
            raise
    return process.returncode, said


def finish_wandb() -> None:
    """A W&B run left open would swallow the next cell's values."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=1)
