"""A run's record from its first line to how it ended: written down whatever happens."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from typing import Any

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from funneltune.backbones import Backbone, Vision
from funneltune.backbones.origin import unpinned
from funneltune.callbacks import CHECKPOINTS, checkpoints_in, log_record, tracking
from funneltune.data import LogDataModule
from funneltune.data.pseudonyms import recorded
from funneltune.errors import Interrupted, LostProcessError
from funneltune.files import write_text
from funneltune.records import RECORD_NAME, RunRecord
from funneltune.runs.folder import CONFIG_NAME
from funneltune.runs.identity import as_plain, config_hash, git_commit, versions
from funneltune.runs.logs import logger, train_log
from funneltune.runs.measuring import now
from funneltune.runs.targets import build
from funneltune.secrets import redacted


def new_record(
    cfg: DictConfig,
    run_dir: Path,
    parameters: tuple[int, int],
    data: Mapping[str, Any],
    log: LogDataModule,
) -> RunRecord:
    """The record of a run that begins now: of how many parameters, all and trained ones, and how much of the log."""
    total, trainable = parameters
    return RunRecord(
        name=str(cfg.name),
        status="running",
        run_dir=str(run_dir),
        command=redacted(" ".join(["funneltune", *sys.argv[1:]])),
        config=as_plain(_to_keep(cfg)),
        config_hash=config_hash(cfg),
        git_commit=git_commit(),
        versions=versions(),
        data={"fingerprint": log.store.fingerprint, **recorded(log.source), **data},
        seed=int(cfg.seed),
        funnel=log.funnel.to_config(),
        parameters={"total": total, "trainable_start": trainable, "share": trainable / total},
        origins=origins_of(cfg),
        leaks=list(log.leaks_found),
        started=now(),
    )


def origins_of(cfg: DictConfig) -> dict[str, dict[str, Any]]:
    """Where pretrained weights and tokenizers come from, by part; those that may change are warned of."""
    built = {part: build(cfg[part]) for part in ("backbone", "vision") if cfg.get(part)}
    found = {part: one.origin() for part, one in built.items() if isinstance(one, (Backbone, Vision))}
    for told in filter(None, (unpinned(part, origin) for part, origin in found.items())):
        if os.environ.get("LOCAL_RANK", "0") == "0":  # further ranks find the same
            logger.warning("%s.", told)
    return {part: origin for part, origin in found.items() if origin}


@contextmanager
def written_down(
    cfg: DictConfig, run_dir: Path, record: RunRecord, told: Callable[[Interrupted], str]
) -> Iterator[list[Logger]]:
    """In a folder that is held: config and record on disk, the log and the config's trackers open (they are given);
    and how it ended in the record, whatever happens. `told` words a stop that a signal asked for.
    """
    write_text(run_dir / CONFIG_NAME, OmegaConf.to_yaml(_to_keep(cfg), resolve=True))
    record.write(run_dir / RECORD_NAME)
    resumed = {"resumed": len(record.resumed)} if record.resumed else {}
    try:
        with train_log(run_dir):
            trackers: list[Logger] = [
                build(node, _partial_=True)(save_dir=str(run_dir), config=record.config, **resumed)
                for node in (cfg.logger or {}).values()
            ]
            with tracking(trackers):
                yield trackers
                record.status, record.finished = "finished", now()
                log_record(trackers, record)
    except (Interrupted, KeyboardInterrupt) as error:
        record.status, record.finished = "interrupted", now()
        record.error = told(error) if isinstance(error, Interrupted) else "KeyboardInterrupt"
        raise
    except BaseException as error:
        record.status, record.finished = "failed", now()
        record.error = redacted(f"{type(error).__name__}: {error}")
        raise
    finally:
        record.write(run_dir / RECORD_NAME)


def stopped(error: Interrupted, run_dir: Path, way_on: Callable[[], str]) -> str:
    """What a run that a signal ended says of it: by which, and how to go on where it had begun."""
    by = f"stopped by {Signals(error.signum).name}"
    if not (run_dir / RECORD_NAME).is_file():
        return f"{by} before training began; nothing was written, give the same command again"
    return f"{by}{way_on()}"


def way_on(run_dir: Path) -> str:
    """What an unfinished run left, and the command that goes on."""
    saved = checkpoints_in(run_dir / CHECKPOINTS)
    state = f"saved at step {saved[0].stem.rpartition('-')[2]}" if saved else "before its first checkpoint"
    return f"{state}; go on with: funneltune train {shlex.quote(f'resume={run_dir}')}"


@contextmanager
def with_way_on(run_dir: Path) -> Iterator[None]:
    """Where a process that the run needs is lost, say how to go on.

    Raises:
        LostProcessError: with that.
    """
    try:
        yield
    except LostProcessError as error:
        raise LostProcessError(_joined(error, run_dir)) from error


def _joined(error: LostProcessError, run_dir: Path) -> str:
    """What happened, and the way on, in one sentence."""
    return f"{str(error).rstrip('.')}; {way_on(run_dir)}"


def give_up(run_dir: Path, record: RunRecord | None, error: LostProcessError) -> None:
    """Write down, for a process that cannot be unwound, how its run ended; without a record it is said alone."""
    told = _joined(error, run_dir)
    if record is not None:
        record.status, record.finished = "failed", now()
        record.error = redacted(f"{type(error).__name__}: {told}")
        record.write(run_dir / RECORD_NAME)
    sys.stderr.write(f"error: {redacted(told)}\n")


def _to_keep(cfg: DictConfig) -> DictConfig:
    """The config as the run folder keeps it: taking up is the command's wish, not the run's."""
    kept = cfg.copy()
    kept.resume, kept.resume_changes = None, []
    return kept
