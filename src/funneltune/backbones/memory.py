"""Vectors of texts that were encoded before, kept where no weight of the backbone moves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.schema import Texts

Encode = Callable[[Texts], Float[Tensor, "texts width"]]


class VectorMemory:
    """A text's vector by its token ids, so that a frozen backbone reads each text once and not once per batch.

    Exact up to the rounding of the trainer's precision: a text's row-mates may differ from those it would have now.
    Once `limit` texts are kept, further ones are encoded each time.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._place: dict[tuple[int, bytes], int] = {}
        self._kept: Tensor | None = None

    def __len__(self) -> int:
        """How many texts are kept."""
        return len(self._place)

    def forget(self) -> None:
        """Start afresh: for weights that have changed."""
        self._place, self._kept = {}, None

    @torch.no_grad()
    def vectors(self, texts: Texts, encode: Encode) -> Float[Tensor, "texts width"]:
        """The texts' vectors; `encode` is asked for those that are not kept yet."""
        keys = _keys(texts)
        new: dict[tuple[int, bytes], int] = {}
        for i, key in enumerate(keys):
            if key not in self._place:
                new.setdefault(key, i)
        known = [i for i, key in enumerate(keys) if key not in new]
        found = self._kept[[self._place[keys[i]] for i in known]] if self._kept is not None and known else None
        if not new:
            assert found is not None
            return found
        fresh = encode(_subset(texts, list(new.values())))
        self._keep(list(new), fresh)
        row = {key: i for i, key in enumerate(new)}
        both = fresh.new_empty(len(keys), fresh.shape[1])
        others = [i for i, key in enumerate(keys) if key in new]
        both[others] = fresh[[row[keys[i]] for i in others]]
        if found is not None:
            both[known] = found
        return both

    def _keep(self, keys: list[tuple[int, bytes]], vectors: Tensor) -> None:
        room = self.limit - len(self._place)
        keys, vectors = keys[:room], vectors[:room]
        begin, end = len(self._place), len(self._place) + len(keys)
        if self._kept is None or end > len(self._kept):
            larger = vectors.new_empty(min(self.limit, max(1024, 2 * end)), vectors.shape[1])
            if self._kept is not None:
                larger[:begin] = self._kept[:begin]
            self._kept = larger
        self._kept[begin:end] = vectors
        self._place |= {key: begin + i for i, key in enumerate(keys)}


def _keys(texts: Texts) -> list[tuple[int, bytes]]:
    """What tells texts apart: their token ids, and where the second segment begins."""
    pieces = torch.split(texts.token_ids.cpu(), texts.lengths.tolist())
    return [(n, ids.numpy().tobytes()) for n, ids in zip(texts.first_lengths.tolist(), pieces, strict=True)]


def _subset(texts: Texts, chosen: list[int]) -> Texts:
    """Some of the texts, in their order."""
    if len(chosen) == len(texts):
        return texts
    which = torch.tensor(chosen, device=texts.lengths.device)
    pieces = torch.split(texts.token_ids, texts.lengths.tolist())
    numbers = None if texts.numbers is None else texts.numbers[which]
    return Texts(torch.cat([pieces[i] for i in chosen]), texts.lengths[which], texts.first_lengths[which], numbers)
