"""Trackers: W&B (offline unless told otherwise) and CSV; what a run reports to them, and that they always end."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import wandb
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from funneltune.errors import ConfigError
from funneltune.records import RunRecord, as_json, number
from funneltune.secrets import without_secrets

Mode = Literal["offline", "online", "disabled"]
MODES: tuple[Mode, ...] = get_args(Mode)
NOTHING_OF_THE_MACHINE: Mapping[str, Any] = {
    # W&B would note the command's words, the folder, the program, who runs it (WANDB_USER_EMAIL), on which machine, and
    # what of Git the environment tells (WANDB_GIT_REMOTE_URL), disabled or not
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "console": "off",
    **dict.fromkeys(("host", "email", "username", "git_remote_url", "git_commit", "git_root"), ""),
}
"""What a run says of itself is its config and its record; nothing else goes to W&B."""


def wandb_logger(
    save_dir: str,
    config: Mapping[str, Any],
    mode: Mode = "offline",
    project: str = "funneltune",
    entity: str | None = None,
    group: str | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
    resumed: int = 0,
    job_type: str = "train",
) -> WandbLogger:
    """A W&B run in the run folder: config, record and history, nothing of code, command, machine or user. The key comes
    from the environment, never from a config.

    Args:
        save_dir: The run folder; W&B writes `wandb/offline-run-*` below it.
        config: Plain values. What looks like a secret is blanked.
        mode: `offline`, `online` or `disabled`.
        project: W&B's project.
        entity: Team or user; None: the key's own.
        group: Runs that belong together; None: the experiment's name.
        name: Of the run; None: W&B invents one.
        tags: Words to find the run by.
        resumed: How often the run was taken up again; then it goes on under its own W&B identifier.
        job_type: What W&B lists it under: a run that trains, or the study that it belongs to.

    Raises:
        ConfigError: on an unknown mode, where W&B cannot be reached, or where a W&B run is open already and would
            swallow this one's values.
    """
    if mode not in MODES:
        raise ConfigError(f"logger.wandb.mode={mode!r} must be one of {', '.join(MODES)}.")
    if wandb.run is not None:
        raise ConfigError("a W&B run is open in this process and would swallow this one's values; call wandb.finish().")
    logger = WandbLogger(
        save_dir=save_dir,
        project=project,
        entity=entity,
        group=group or str(config.get("name", "")) or None,
        name=name,
        tags=list(tags),
        mode=mode,
        job_type=job_type,
        config=without_secrets(config),
        **(_identity(Path(save_dir)) if resumed else {}),
        settings=wandb.Settings(silent=True, **NOTHING_OF_THE_MACHINE),
    )
    try:
        logger._wandb_init.pop("anonymous", None)  # Lightning 2.6 still passes it, W&B 0.31 warns of it
        _ = logger.experiment  # start it now, so that a failure is told before training
    except Exception as error:  # W&B's errors, whose kinds share no base, and the network's
        if not isinstance(error, OSError) and not type(error).__module__.startswith("wandb"):
            raise
        told = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"logger.wandb.mode={mode!r}: W&B did not start ({told}); set WANDB_API_KEY in the environment, or use "
            "mode=offline."
        ) from error
    return logger


def _identity(run_dir: Path) -> dict[str, Any]:
    """The identifier of a run folder's W&B run: offline, `wandb sync` then joins the parts."""
    found = sorted(run_dir.glob("wandb/*run-*-*"))
    return {"id": found[-1].name.rpartition("-")[2], "resume": "allow"} if found else {}


def csv_logger(
    save_dir: str,
    config: Mapping[str, Any],  # noqa: ARG001
    flush_every_n_steps: int = 50,
    resumed: int = 0,
) -> CSVLogger:
    """`csv/metrics.csv` in the run folder; the config lies there already. What follows a resumption has a folder of its
    own, `csv/resumed_1`: Lightning would delete what was there.

    Raises:
        ConfigError: if it is to be written every 0 steps.
    """
    if flush_every_n_steps < 1:
        raise ConfigError(f"logger.csv.flush_every_n_steps={flush_every_n_steps} must be >= 1.")
    version = f"resumed_{resumed}" if resumed else ""
    return CSVLogger(save_dir=save_dir, name="csv", version=version, flush_logs_every_n_steps=flush_every_n_steps)


def tensorboard_logger(save_dir: str, config: Mapping[str, Any], resumed: int = 0) -> TensorBoardLogger:  # noqa: ARG001
    """Event files in `tensorboard/` of the run folder; needs the extra `tensorboard`."""
    try:
        return TensorBoardLogger(save_dir=save_dir, name="tensorboard", version="", default_hp_metric=False)
    except ModuleNotFoundError:
        raise ConfigError(
            "logger=tensorboard needs a package that is not installed: pip install 'funneltune[tensorboard]'."
        ) from None


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
        try:
            for logger in loggers:
                logger.finalize("failed" if failed else "success")
        finally:
            if wandb.run is not None:
                wandb.finish(exit_code=int(failed))


@rank_zero_only
def log_record(loggers: Sequence[Logger], record: RunRecord) -> None:
    """The record's numbers in W&B's summary (CSV: its last row); each metric's protocol in W&B's config."""
    final: dict[str, float] = {}
    protocols: dict[str, Any] = {}
    for split, metrics in record.metrics.items():
        for key, entry in metrics.items():
            value = number(entry)
            if value is not None:
                final[f"final/{split}/{key}"] = value
                protocols[f"final/{split}/{key}"] = entry["protocol"]
    final |= {f"oracle/{key}": value for key, entry in record.oracle.items() if (value := number(entry)) is not None}
    final |= {f"cost/{key}": value for key, value in record.cost.items() if isinstance(value, (int, float))}
    final |= {f"parameters/{key}": value for key, value in record.parameters.items()}
    facts = {
        "protocols": protocols,
        "data_fingerprint": record.data.get("fingerprint"),
        "git_commit": record.git_commit,
        "versions": record.versions,
        "rank_pattern": record.rank_pattern,
        "peak_memory_scope": record.cost.get("peak_memory_scope"),
    }
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(final)
            logger.experiment.config.update({key: value for key, value in facts.items() if value})
        elif isinstance(logger, CSVLogger):
            logger.log_metrics(dict(final))
            logger.save()
        elif isinstance(logger, TensorBoardLogger):
            logger.log_metrics(final)
            logger.experiment.add_text("facts", json.dumps(as_json(facts), indent=1))
            logger.save()


def track_study(
    node: Mapping[str, Any],
    folder: Path,
    name: str,
    config: Mapping[str, Any],
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]],
    pictures: Mapping[str, bytes] | None = None,
) -> None:
    """A study's tables and figures as one W&B run beside its runs, in the group of its name. A second call adds to the
    same one.

    Args:
        node: The runs' own `logger.wandb`: mode, project, entity.
        folder: The study's.
        name: The study's.
        config: The study's axes, seeds, pairs.
        tables: Name -> (columns, rows).
        pictures: Name -> PNG.
    """
    plain = {key: value for key, value in node.items() if not key.startswith("_")}
    plain |= {"group": plain.get("group") or name, "name": plain.get("name") or f"study {name}"}
    seen = bool(_identity(folder))
    logger = wandb_logger(save_dir=str(folder), config=config, **plain, job_type="study", resumed=int(seen))
    with tracking([logger]):
        for key, (columns, rows) in tables.items():
            logger.log_table(key, columns=list(columns), data=[list(row) for row in rows])
        for key, picture in (pictures or {}).items():
            logger.log_image(f"figures/{key}", [Image.open(io.BytesIO(picture))])
