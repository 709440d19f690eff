"""Checkpoint files: written whole, with a sha256 beside each, read back only where it holds; never a pickle."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from torch import Tensor

from funneltune.errors import FailedRunError, RunError
from funneltune.files import require_space, sha256_of, whole_file, write_text

NAME = re.compile(r"step-(\d+)\.ckpt")
SUM = ".sha256"
UNFINISHED = "has no sha256 beside it: it was never finished, or its sum was removed"
MISSING = "is missing"

logger = logging.getLogger("funneltune")


class CheckpointFiles(CheckpointIO):
    """Lightning's way to the disk, made safe: whole files, room asked for first, finite weights, checksums."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint and its sha256, in the format of `sha256sum`.

        Raises:
            FailedRunError: if a weight is not finite, or the disk refuses. Older files stay as they are.
        """
        path = Path(path)
        infinite = [name for name, tensor in checkpoint["state_dict"].items() if not _finite(tensor)]
        if infinite:
            raise FailedRunError(
                f"{infinite[0]} is not finite after step {checkpoint['global_step']} ({len(infinite)} such tensors): "
                "nothing was saved, older checkpoints are good; lower optimizer.lr or tuning.learning_rate."
            )
        require_space(path, _bytes(checkpoint))
        with whole_file(path) as part:
            try:
                with part.open("wb") as file:
                    torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's attempt to end a file that takes no more hides the system's reason
                system = error.__context__
                raise (system if isinstance(system, OSError) else OSError(str(error).splitlines()[0])) from None
            digest = sha256_of(part)
        write_text(path.with_name(path.name + SUM), f"{digest}  {path.name}\n")

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint that is whole. Nothing but tensors and plain values is ever read, whatever is asked."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint: its sum first, so that what a kill leaves is no checkpoint."""
        path = Path(path)
        path.with_name(path.name + SUM).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file on this machine.

    Raises:
        RunError: if it is an address, missing, unfinished, damaged, or holds code.
    """
    if ":/" in str(path):
        raise RunError(f"checkpoint {path} is an address; only files on this machine are read, download it first.")
    content, fault = _read(path)
    if content is None:
        raise RunError(f"checkpoint {path} {fault}; use another one or train again.")
    return content


def _read(path: Path) -> tuple[dict[str, Any] | None, str]:
    """A checkpoint's content, or None and what is wrong with it."""
    listed = path.with_name(path.name + SUM)
    if not path.is_file():
        return None, MISSING
    if not listed.is_file():
        return None, UNFINISHED
    if sha256_of(path) != listed.read_text(encoding="utf-8", errors="replace").partition(" ")[0]:
        return None, f"is damaged ({path.stat().st_size:,} bytes, its sha256 differs)"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a dozen kinds, among them what torch says of code in the file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        return None, f"cannot be read ({reason})"
    if not isinstance(content, dict) or "state_dict" not in content:
        return None, "is none of a run's"
    return content, ""


def checkpoints_in(folder: Path, files: str = "*.ckpt") -> list[Path]:
    """A run's resumable checkpoints, the newest first, whole or not."""
    names = {path.name.removesuffix(SUM) for path in folder.glob(files)}
    found = {int(match.group(1)): folder / name for name in names if (match := NAME.fullmatch(name))}
    return [found[step] for step in sorted(found, reverse=True)]


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole, passing over others and saying so; None where there is none at all.

    Raises:
        RunError: if some are damaged, and none is whole.
    """
    passed: dict[Path, str] = {}
    whole: Path | None = None
    for path in checkpoints_in(folder, "*.ckpt*"):  # one that was deleted has left its sum
        content, fault = _read(path)
        if content is not None:
            whole = path
            break
        passed[path] = fault
    damaged = [f"{path} {fault}" for path, fault in passed.items() if fault not in {UNFINISHED, MISSING}]
    if whole is None and damaged:
        raise RunError(f"no checkpoint of this run is whole ({'; '.join(damaged)}); train it again in another folder.")
    for path, fault in passed.items():
        way_on = f"going on from {whole.name}" if whole is not None else "there is no older one to go on from"
        logger.warning("checkpoint %s %s; %s.", path, fault, way_on)
    return whole


def prune(folder: Path, keep: Collection[str]) -> None:
    """Remove every checkpoint but those named."""
    for path in folder.glob("*.ckpt"):
        if path.name not in keep:
            CheckpointFiles().remove_checkpoint(path)


def _finite(value: Any) -> bool:
    return not (isinstance(value, Tensor) and value.is_floating_point()) or bool(torch.isfinite(value).all())


def _bytes(value: Any) -> int:
    """What the tensors of a nested checkpoint take."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, (list, tuple)) else 0
