"""What a step costs as requests show more rows of the same catalogue."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.ours import Ours
from benchmarks.peers.hf import precision_of
from funneltune.schema import Batch


def rows_per_request(ours: Ours, counts: Sequence[int], requests: int = 24, repeats: int = 5) -> dict[int, float]:
    """Median seconds of forward and backward over batches of `requests` queries and one set of items, by rows each.

    Every batch holds the texts of the largest: rows point to them, so that unique tokens stay as they are.
    """
    module, data = ours.assembly.module.train(), ours.assembly.data
    whole = data.collator()(next(iter(data.plan(0).draws())))
    low = precision_of(ours) == "bf16-mixed"
    seen: dict[int, list[float]] = {count: [] for count in counts}
    for repeat in range(repeats + 1):
        for count in counts:
            batch = _resized(whole, requests * count)
            begun = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
                loss = module.objective(batch, module(batch)).total()
            loss.backward()
            module.zero_grad()
            if repeat:
                seen[count].append(time.perf_counter() - begun)
    return {count: statistics.median(seconds) for count, seconds in seen.items()}


def _resized(batch: Batch, rows: int) -> Batch:
    """So many rows over the same texts: the batch's own, again and again."""
    which = torch.from_numpy(np.resize(np.arange(len(batch)), rows))
    return Batch(
        texts=batch.texts,
        text_of_row={name: index[which] for name, index in batch.text_of_row.items()},
        labels={name: values[which] for name, values in batch.labels.items()},
        observed={name: values[which] for name, values in batch.observed.items()},
        request=batch.request[which],
        row=batch.row[which],
    )
