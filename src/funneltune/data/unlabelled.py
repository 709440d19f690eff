"""A file of rows that nobody labelled, read as a log was read."""

from __future__ import annotations

from pathlib import Path

from funneltune.data.datamodule import LogDataModule
from funneltune.data.splits import Whole


def read_as(data: LogDataModule, path: Path) -> LogDataModule:
    """The same reading of a file of rows: the source's column names, the tokenizer and the texts; no labels."""
    return LogDataModule(
        source=data.source.unlabelled(path),
        tasks=data.funnel,
        split=Whole(),
        texts=data.texts,
        tokenizer=data.tokenizer,
        interaction=data.interaction,
        eval_rows_per_batch=data.eval_rows_per_batch,
        max_tokens=data.max_tokens,
        cache_dir=data.cache_dir,
        features=data.features,
        max_unknown=data.max_unknown,
        vision=data.pictures[0],
    )
