"""Columns that grow chunk by chunk: in memory, or in files, where a log is longer than memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Columns:
    """Named columns of one length in the end, each of one type.

    Args:
        folder: Where they lie; None: in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._last: dict[str, NDArray[Any]] = {}

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Append a chunk."""
        self._last[name] = values
        if self.folder is None:
            self._parts.setdefault(name, []).append(values)
        else:
            with self._file(name).open("ab") as file:
                values.tofile(file)

    def whole(self) -> dict[str, NDArray[Any]]:
        """The columns over all chunks; those in files are mapped, not read."""
        if self.folder is None:
            return {name: np.concatenate(parts) for name, parts in self._parts.items()}
        return {name: np.memmap(self._file(name), last.dtype, "r") for name, last in self._last.items()}

    def _file(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{list(self._last).index(name)}.bin"
