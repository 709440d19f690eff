"""What a source of logs offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from funneltune.data.write import StoreWriter


class Source(Protocol):
    """Something that a log store can be built from."""

    def describe(self) -> dict[str, Any]:
        """Everything that decides the log's content, as plain values: the store's fingerprint is made of it."""
        ...

    def write(self, writer: StoreWriter) -> None:
        """Hand over the entities and the impressions."""
        ...

    def unlabelled(self, path: Path) -> Source:
        """How a file of rows without labels is read, whose columns are named as in this log."""
        ...
