"""Files that are whole or not there: written aside in the same folder, flushed to the disk, renamed into place."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from funneltune.errors import FailedRunError, RunError

MARGIN = 16 * 2**20
"""Bytes that a disk must have beside what is to be written: other files of the same run."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it becomes `path` when the block ends, and is removed when it fails.

    The part lies in the same folder: the system's temporary folder may be another disk, where a rename is a copy that
    a kill can cut in half. It keeps the suffix, by which some libraries choose a format.

    Raises:
        RunError: if the disk is full, the folder cannot be written to, or a limit is reached. `path` is what it was.
    """
    with told_write_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".part{path.suffix}", dir=path.parent)
        os.close(handle)
        part = Path(name)
        try:
            yield part
            # mkstemp makes files that only their owner reads; a record is for everyone who may read the folder.
            part.chmod(0o644)
            to_disk(part)
            os.replace(part, path)
            to_disk(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a folder beside `target` to fill; it becomes `target` when the block ends, and is removed when it fails.

    Raises:
        RunError: if `target` is there already, or cannot be written.
    """
    if target.exists() or target.is_symlink():
        raise RunError(f"{target} exists; name another folder or remove it.")
    with told_write_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        try:
            yield part
            for path in (*part.rglob("*"), part):
                path.chmod(0o755 if path.is_dir() else 0o644)  # as in `whole_file`
                to_disk(path)
            part.rename(target)
            to_disk(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def require_new(output: Path, endings: Sequence[str] = ()) -> None:
    """Refuse what is to be written where it cannot be or something is lost by it, before anything is computed.

    Args:
        output: A new folder (an empty one counts as new), or with `endings` a new file.
        endings: Those that a file's name may have.

    Raises:
        RunError: if it exists, or its name ends otherwise.
    """
    if endings and output.suffix not in endings:
        raise RunError(f"output={output} must end in {' or '.join(endings)}.")
    if output.exists() and (endings or not output.is_dir() or any(output.iterdir())):
        raise RunError(f"output={output} exists; name another {'file' if endings else 'folder'} or remove it.")


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_parts(folder: Path) -> None:
    """Remove what killed writers left below a folder that no one writes to now."""
    for part in folder.rglob(".*.part*"):
        if part.is_file():
            part.unlink(missing_ok=True)


@contextmanager
def told_write_faults(path: Path) -> Iterator[None]:
    """A failed write in one line: the path, the reason, what to do.

    Raises:
        RunError: in place of the system's error; `FailedRunError` unless another folder was to be named.
    """
    try:
        yield
    except OSError as error:
        raise _write_fault(path, error) from error


def _write_fault(path: Path, error: OSError) -> RunError:
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    kind: type[RunError] = FailedRunError
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        remedy = f"{free_bytes(path) / 2**20:,.0f} MB are free there; make room or name a folder on another disk"
    elif error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        kind, remedy = RunError, "name a folder that may be written to"
    else:
        remedy = "mend the disk or name another folder"
    return kind(f"{path} cannot be written ({reason}): {remedy}. Nothing that was there is lost.")


def free_bytes(path: Path) -> int:
    """Bytes that may still be written where `path` is, or would be."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    return shutil.disk_usage(there).free


def require_space(path: Path, needed: int) -> None:
    """Refuse to begin a write that cannot end.

    Raises:
        FailedRunError: naming the path, what is needed and what is free.
    """
    free = free_bytes(path)
    if free < needed + MARGIN:
        raise FailedRunError(
            f"{path} needs {(needed + MARGIN) / 2**20:,.0f} MB ({needed / 2**20:,.1f} MB and {MARGIN // 2**20} MB to "
            f"spare for the run's other files), and {free / 2**20:,.0f} MB are free there; make room or name a folder "
            "on another disk. Nothing that was there is lost."
        )


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Any:
    """A Parquet file as a `pyarrow.Table`, every page held against the checksum that it was written with.

    Raises:
        RunError: if it is cut short, damaged, or no such file; without its checksum a flipped bit is another value.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            require_parquet_counts(file.metadata)
            # What pandas wrote about its own types is not needed, and no checksum covers it.
            table = file.read(columns).replace_schema_metadata(None)
        if missing := set(columns or ()) - set(table.column_names):
            raise OSError(f"it has no column {min(missing)}")
        return table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(f"{path} cannot be read ({reason}); have it written again, or restore a copy.") from None


def require_parquet_counts(metadata: Any) -> None:
    """Hold a Parquet file's counts of rows against one another: no checksum covers its footer, and a smaller count
    would cut the table short.

    Raises:
        OSError: if two of them differ.
    """  # not the counts of its columns: asking a damaged footer for them ends the process
    if sum(metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)) != metadata.num_rows:
        raise OSError("its footer counts rows in two ways")


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path, refuse: str = "") -> Iterator[None]:
    """Hold a folder's advisory lock. It goes with the process, so a killed one leaves none behind.

    Raises:
        RunError: with the text `refuse`, if it is given and another process holds the lock; else wait for it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if refuse else 0))
        except BlockingIOError:
            raise RunError(refuse) from None
        yield
    finally:
        os.close(handle)
