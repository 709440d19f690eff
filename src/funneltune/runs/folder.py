"""A run's folder: claimed by one process, or taken up again where an interrupted run left it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from funneltune.callbacks import CHECKPOINTS, checkpoints_in, newest_checkpoint
from funneltune.data.pseudonyms import require_key
from funneltune.errors import ConfigError, FunnelError, RunError
from funneltune.files import locked, remove_parts, told_write_faults
from funneltune.records import RECORD_NAME, RunRecord
from funneltune.runs.identity import as_plain, config_hash, differences, dotted

CONFIG_NAME = "config.yaml"


@dataclass(frozen=True)
class Earlier:
    """What an interrupted run left: its record, its newest whole checkpoint (if it got that far), what is changed."""

    record: RunRecord
    checkpoint: Path | None
    changed: tuple[str, ...]
    left_some: bool = False
    """Whether there are checkpoints, though perhaps none that is whole."""

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return int(self.checkpoint.stem.rpartition("-")[2]) if self.checkpoint is not None else 0

    @property
    def in_words(self) -> str:
        """Where the run is taken up."""
        if self.checkpoint is not None:
            return f"goes on from step {self.step}"
        return f"begins again: it left no checkpoint{' that can be trusted' if self.left_some else ''}"


def earlier_run(cfg: DictConfig, run_dir: Path) -> Earlier | None:
    """The run to go on with, as `cfg.resume` asks; None where a new one is to begin.

    Raises:
        RunError: if the folder holds a run and none may be taken up, or that run began with another config, or none of
            its checkpoints is whole.
    """
    if run_dir.exists() and not run_dir.is_dir():
        raise RunError(f"run_dir={run_dir} is a file; name a folder.")
    plain = as_plain(cfg)
    allowed = [str(key) for key in cfg.get("resume_changes") or ()]
    if not run_dir.exists() or not any(run_dir.iterdir()):
        _require_known(allowed, plain)
        return None
    if not cfg.get("resume"):
        hint = ", or go on with its run: resume=auto" if _is_unfinished(run_dir) else ""
        raise RunError(f"run_dir={run_dir} exists and is not empty; name another folder, remove it{hint}.")
    if not (run_dir / RECORD_NAME).is_file():
        raise RunError(
            f"run_dir={run_dir} is not empty and holds no run (no {RECORD_NAME}); name another folder, or empty it."
        )
    record = RunRecord.read(run_dir / RECORD_NAME)
    _require_known(allowed, plain, record.config)
    changed = differences(record.config, plain)
    refused = {key: told for key, told in changed.items() if not _covers(allowed, key)}
    if refused:
        raise RunError(
            f"run_dir={run_dir} began with another config: {'; '.join(refused.values())}. Give the command that it "
            f"began with, let a field differ (resume_changes=[{next(iter(refused))}]), or name another run_dir."
        )
    if record.status == "finished":
        return Earlier(record, None, ())
    require_key(plain["data"].get("pseudonyms"), record.data, f"run_dir={run_dir}")
    folder = run_dir / CHECKPOINTS
    return Earlier(record, newest_checkpoint(folder), tuple(changed.values()), bool(checkpoints_in(folder)))


def _require_known(allowed: Sequence[str], *configs: Mapping[str, Any]) -> None:
    keys = [key for config in configs for key in dotted(config)]
    for one in allowed:
        if one not in keys:
            near = [f" (nearest: {key})" for key in get_close_matches(one, keys, 1)]
            raise ConfigError(f"resume_changes names {one}, which is no key of the config{''.join(near)}.")


def _covers(allowed: Sequence[str], key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in allowed)


def _is_unfinished(run_dir: Path) -> bool:
    try:
        return RunRecord.read(run_dir / RECORD_NAME).status != "finished"
    except FunnelError:
        return False


@contextmanager
def held(run_dir: Path, *, fresh: bool) -> Iterator[None]:
    """Make the folder, if need be, and hold it: two runs never write one. What a killed writer left is removed.

    Raises:
        RunError: if another process holds it, or (for a fresh run) has begun to fill it.
    """
    with told_write_faults(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    with locked(run_dir, refuse=f"run_dir={run_dir} is being written by another run; wait for it or name another."):
        if fresh and any(run_dir.iterdir()):
            raise RunError(f"run_dir={run_dir} has just been filled by another run; name another folder.")
        remove_parts(run_dir)
        yield


def newest_unfinished(parent: Path, cfg: DictConfig) -> Path | None:
    """The newest folder below `parent` whose run has this config, is not finished, and is not being written."""
    wanted = config_hash(cfg)
    for folder in sorted((path for path in parent.glob("*") if path.is_dir()), reverse=True):
        try:
            record = RunRecord.read(folder / RECORD_NAME)
            if record.status == "finished" or record.config_hash != wanted:
                continue
            with locked(folder, refuse="busy"):
                return folder
        except FunnelError:
            continue
    return None


def stored_config(run_dir: Path, field: str = "run") -> DictConfig:
    """The config that a run began with.

    Raises:
        RunError: if the folder, which `field` of the command line named, holds none.
    """
    path = run_dir / CONFIG_NAME
    if not (run_dir / RECORD_NAME).is_file():
        other = "auto, or " if field == "resume" else ""
        raise RunError(
            f"{field}={run_dir} holds no {RECORD_NAME}; name {other}the folder that `funneltune train` wrote."
        )
    RunRecord.read(run_dir / RECORD_NAME)  # without it no command goes on
    remedy = f"give the whole command that the run began with, and run_dir={run_dir} resume=auto"
    try:
        found: Any = OmegaConf.load(path)
    except FileNotFoundError:
        raise RunError(f"{path} is missing; {remedy}.") from None
    except (OSError, ValueError, YAMLError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{path} cannot be read ({reason}); {remedy}.") from None
    if not isinstance(found, DictConfig) or not found:
        raise RunError(f"{path} holds no config; {remedy}.")
    return found
