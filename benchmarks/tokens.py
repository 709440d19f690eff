"""How many tokens rows hold, and how many of them are distinct: what encoding each text once can gain."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.ours import Ours


def token_ratio(ours: Ours, batches: int) -> dict[str, float]:
    """Tokens of every row's texts over tokens of the batch's unique texts, special tokens in, padding out."""
    data = ours.assembly.data
    unique, plain = data.collator(), replace(data.collator(), unique=False)
    every = distinct = rows = 0
    for draw, _ in zip(data.plan(0).draws(), range(batches), strict=False):
        every += int(plain(draw).texts.lengths.sum())
        distinct += int(unique(draw).texts.lengths.sum())
        rows += len(unique(draw))
    return {"rows": rows, "all_tokens": every, "unique_tokens": distinct, "ratio": every / distinct}
