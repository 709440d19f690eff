"""A log as peers read it: one row, one example; tokenised up front, padded to the longest of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from benchmarks.ours import Ours
from funneltune.errors import ConfigError

Example = Mapping[str, Any]


@dataclass(frozen=True)
class Log:
    """Texts and labels of the rows that our batches hold, in the same order.

    Args:
        query: Text of each row's query.
        title: Text of each row's item.
        labels: (rows, 2): click, and purchase; a purchase without a click is none.
        rows_per_batch: Rows of our first batch: all of ours have as many, where requests are equally long.
        max_tokens: Longest text with its special tokens.
    """

    query: list[str]
    title: list[str]
    labels: NDArray[np.float32]
    rows_per_batch: int
    max_tokens: int

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.query)


def log_of(ours: Ours, batches: int) -> Log:
    """The rows of our first so many training batches.

    Raises:
        ConfigError: if the funnel is not a click and something given the click.
    """
    data = ours.assembly.data
    if len(data.funnel.tasks) != 2 or data.funnel.tasks[1].given != (data.funnel.names[0],):
        raise ConfigError("tasks: the peers know funnels of two tasks, one conditional on the other.")
    draws = [data.store.rows_of(draw.requests) for draw, _ in zip(data.plan(0).draws(), range(batches), strict=False)]
    rows = np.concatenate(draws)
    query_texts = data.store.text("queries", data.texts["query"])
    item_texts = data.store.text("items", data.texts["item"])
    labels = np.stack([data.store.column(name)[rows] for name in data.funnel.names], 1).astype(np.float32)
    labels[:, 1] *= labels[:, 0]
    return Log(
        query=[query_texts[i] for i in data.store.column("query")[rows]],
        title=[item_texts[i] for i in data.store.column("item")[rows]],
        labels=labels,
        rows_per_batch=len(draws[0]),
        max_tokens=data.max_tokens,
    )


def pieces(rows: int, micro: int | None) -> int:
    """Into how many micro-batches of at most `micro` rows a batch is cut: equal ones, where a number nearby divides it.

    (A mean of means is the batch's mean where the pieces are equal.)
    """
    if micro is None:
        return 1
    least = -(-rows // micro)
    return next((n for n in range(least, least + least // 4 + 1) if rows % n == 0), least)


class Examples(Dataset[Example]):
    """Token ids and labels per row. `twin`: query and title apart; `cross`: one sequence."""

    def __init__(self, log: Log, tokenizer: Any, *, cross: bool) -> None:
        settings = {"truncation": True, "max_length": log.max_tokens}
        self.columns: dict[str, Sequence[Any]] = {}
        if cross:
            pairs = tokenizer(log.query, log.title, **settings)
            self.columns = {"pair": pairs["input_ids"], "segments": pairs["token_type_ids"]}
        else:
            self.columns = {
                "query": tokenizer(log.query, **settings)["input_ids"],
                "title": tokenizer(log.title, **settings)["input_ids"],
            }
        self.labels = log.labels

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def __getitem__(self, row: int) -> Example:
        """One row."""
        return {name: values[row] for name, values in self.columns.items()} | {"labels": self.labels[row]}


def pad(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, padded with 0 to the longest."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=np.int64)
    ids[mask] = np.concatenate([np.asarray(text) for text in texts])
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


def collate(examples: Sequence[Example]) -> dict[str, Tensor]:
    """A batch: `<name>_ids` and `<name>_mask` of each text, `segments` of pairs, `labels`."""
    batch: dict[str, Tensor] = {"labels": torch.from_numpy(np.stack([example["labels"] for example in examples]))}
    for name in ("query", "title", "pair"):
        if name in examples[0]:
            batch[f"{name}_ids"], batch[f"{name}_mask"] = pad([example[name] for example in examples])
    if "segments" in examples[0]:
        batch["segments"], _ = pad([example["segments"] for example in examples])
    return batch
