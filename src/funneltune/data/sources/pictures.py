"""Pictures that a log names by their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from funneltune.data.pictures import LARGEST_FILE, Named
from funneltune.errors import DataError
from funneltune.files import sha256_of

IMAGE = "image_file_"
"""Before a picture's name: the items' column of its files."""
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def folder_of(log: Path, folder: str | None) -> Path:
    """Where the files lie: a folder of its own, which begins where the log lies, or there."""
    here = log if log.is_dir() else log.parent
    return here / folder if folder is not None else here


def describe_files(images: Mapping[str, str], folder: Path) -> str:
    """A sha256 of the columns and of every picture in the folder: a picture that changes makes another log."""
    told = hashlib.sha256(repr(sorted(images.items())).encode())
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS and path.is_file():
            told.update(f"{path.relative_to(folder)} {sha256_of(path)}".encode())
    return told.hexdigest()


def files_of(column: str, paths: Sequence[str], folder: Path) -> Iterator[Named]:
    """The files that a column names, none where it is empty.

    Raises:
        DataError: naming one that lies outside the folder, or is not there.
    """
    root = folder.resolve()
    for place in paths:
        if not place.strip():
            yield Named(None)
            continue
        where = f"data.source.images: column {column!r} names {place!r}"
        path = (folder / place).resolve()
        if not path.is_relative_to(root):
            raise DataError(f"{where}, which lies outside {folder}; name files inside, or set image_folder.")
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise DataError(f"{where}, which is larger than {LARGEST_FILE:,} bytes; make it less.")
            yield Named(path.read_bytes(), f"{where}, which")
        except OSError as error:
            told = error.strerror or type(error).__name__
            raise DataError(f"{where}, which cannot be opened ({told}); add it, or leave the cell empty.") from None
