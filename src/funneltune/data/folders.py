"""Folders that are whole or not there: built aside, renamed into place, checked when they are used again."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from funneltune.errors import DataError
from funneltune.files import sha256_of, to_disk, told_write_faults

SUMS = "sha256.json"
"""The sha256 of every file of a built folder."""


@contextmanager
def built_folder(target: Path) -> Iterator[Path | None]:
    """Yield a temporary folder to fill, or None where `target` is there already; on success it becomes `target`.

    Two processes may build the same folder: the first rename wins, the other's work is thrown away. A failure leaves
    nothing behind.

    Raises:
        DataError: if `target` is there and damaged.
        RunError: if it cannot be written.
    """
    if target.is_dir():
        verify(target)
        yield None
        return
    with told_write_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        try:
            yield part
            sums = {path.name: sha256_of(path) for path in sorted(part.iterdir())}
            (part / SUMS).write_text(json.dumps(sums, indent=1))
            for path in part.iterdir():
                to_disk(path)
            try:
                part.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
            to_disk(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def verify(folder: Path) -> None:
    """Compare a built folder with its checksums, once per process as long as its files stay as they are.

    Raises:
        DataError: naming the first file that is missing or damaged.
    """
    listed = folder / SUMS
    if listed.is_file():  # folders of earlier releases have none
        _verify(folder, tuple(sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir())))


@cache
def _verify(folder: Path, files: tuple[tuple[str, int, int], ...]) -> None:  # noqa: ARG001 (part of the cache's key)
    try:
        sums: dict[str, str] = json.loads((folder / SUMS).read_text())
        damaged = next((name for name, wanted in sums.items() if sha256_of(folder / name) != wanted), None)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{folder} is damaged ({error}); delete it, it will be built again.") from None
    if damaged is not None:
        raise DataError(f"{folder / damaged} is damaged (its sha256 differs); delete {folder}, it will be built again.")
