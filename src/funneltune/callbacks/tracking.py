"""Trackers: W&B (offline unless told otherwise) and CSV; what a run reports to them, and that they always end."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import wandb
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from funneltune.errors import ConfigError
from funneltune.records import RunRecord, number

MODES = ("offline", "online", "disabled")


def wandb_logger(
    save_dir: str,
    config: Mapping[str, Any],
    mode: str = "offline",
    project: str = "funneltune",
    entity: str | None = None,
    group: str | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
) -> WandbLogger:
    """A W&B run in the run folder. Code is never uploaded; the key comes from the environment, never from a config.

    Raises:
        ConfigError: on an unknown mode, or where a W&B run is open already and would swallow this one's values.
    """
    if mode not in MODES:
        raise ConfigError(f"logger.wandb.mode={mode!r} must be one of {', '.join(MODES)}.")
    if wandb.run is not None:
        raise ConfigError("a W&B run is open in this process and would swallow this one's values; call wandb.finish().")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*anonymous.*")
        logger = WandbLogger(
            save_dir=save_dir,
            project=project,
            entity=entity,
            group=group or str(config.get("name", "")) or None,
            name=name,
            tags=list(tags),
            mode=mode,
            job_type="train",
            config=dict(config),
            settings=wandb.Settings(save_code=False, console="off", silent=True, x_disable_stats=True),
        )
        _ = logger.experiment  # start it now, so that a failure is told before training
    return logger


def csv_logger(save_dir: str, config: Mapping[str, Any], flush_every_n_steps: int = 50) -> CSVLogger:  # noqa: ARG001
    """metrics.csv in the run folder."""
    return CSVLogger(save_dir=save_dir, name="csv", version="", flush_logs_every_n_steps=flush_every_n_steps)


@contextmanager
def tracking(loggers: Sequence[Logger]) -> Iterator[None]:
    """End every tracker when the block ends, with W&B's exit code 1 if it failed.

    A W&B run that is not finished swallows the values of the next one in the same process.
    """
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in loggers:
            logger.finalize("failed" if failed else "success")
        if wandb.run is not None:
            wandb.finish(exit_code=int(failed))
        if failed:
            sys.stdout.flush()


def log_record(loggers: Sequence[Logger], record: RunRecord) -> None:
    """The record's numbers, each metric with its protocol, as W&B's summary (and CSV's last row)."""
    final: dict[str, float] = {}
    protocols: dict[str, Any] = {}
    for split, metrics in record.metrics.items():
        for key, entry in metrics.items():
            value = number(entry)
            if value is not None:
                final[f"final/{split}/{key}"] = value
                protocols[f"final/{split}/{key}"] = entry["protocol"]
    final |= {f"cost/{k}": v for k, v in record.cost.items() if isinstance(v, (int, float))}
    final |= {f"parameters/{k}": v for k, v in record.parameters.items() if isinstance(v, (int, float))}
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(final)
            logger.experiment.config.update({"protocols": protocols, "data_fingerprint": record.data["fingerprint"]})
        elif isinstance(logger, CSVLogger):
            logger.log_metrics(final)
            logger.save()
