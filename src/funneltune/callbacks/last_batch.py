"""Which batch the trainer is at: what a message needs that says what did not fit into memory."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from funneltune.schema import Batch, LanguageBatch, Texts

SHOWN = 5


class LastBatch(L.Callback):
    """Remembers the rows and texts of the batch at hand, and lets go of them behind it."""

    def __init__(self) -> None:
        self._rows: Tensor | None = None
        self._texts: Texts | None = None
        self.validating = False
        """Whether training stands still for a validation."""

    def in_words(self) -> str | None:
        """`40 rows (3, 7, ... 95 of the log), 61 unique texts, the longest of 64 tokens`; None between batches."""
        if self._texts is None:
            return None
        told = [] if self._rows is None else [_rows(self._rows)]
        return ", ".join([*told, self._texts.in_words()] if len(self._texts) else told)

    def _begin(self, batch: Any) -> None:
        if not isinstance(batch, (Batch, LanguageBatch)):
            return
        self._rows = batch.row if isinstance(batch, Batch) else None
        self._texts = batch.texts

    def _end(self) -> None:
        self._rows = self._texts = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """At hand."""
        self._begin(batch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Done with."""
        self._end()

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """At hand."""
        self._begin(batch)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Done with."""
        self._end()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Training stands still."""
        self.validating = True

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """It goes on."""
        self.validating = False

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end


def _rows(rows: Tensor) -> str:
    found = sorted(rows.tolist())
    more = f", ... {found[-1]}" if len(found) > SHOWN else ""
    return f"{len(found):,} rows ({', '.join(map(str, found[:SHOWN]))}{more} of the log)"
