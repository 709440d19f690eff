"""All features of a row, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from funneltune.errors import ConfigError
from funneltune.features.fusion import Modalities, build_fusion
from funneltune.features.history import TargetAttention
from funneltune.features.ids import HashedIds
from funneltune.features.numbers import Numbers
from funneltune.schema import Batch, FeatureNeeds

TEXTS = ("query", "item", "pair")
"""A row's texts (`Batch.text_of_row`), in the order in which a fusion reads them."""


class Features(nn.Module):
    """What stands beside the texts' vector: hashed ids, numbers, fixed vectors, attended history.

    Names are the log's columns, `user`, `item` and `query` for identifiers, `item.brand` for an entity's column.

    Args:
        text_width: Of an encoded text; 0 without a backbone.
        vector_widths: Width of each of the log's fixed vectors, by name.
        ids: Columns to embed.
        buckets, id_width: Of the table that they share.
        numbers: Column -> transform (`standard`, `log`, `quantile`).
        number_encoding, number_width, number_bins: See `Numbers`.
        vectors: Fixed vectors of the item, by name.
        vector_width: What each is projected to.
        history: Events of the shopper's past that the candidate attends to; 0: none.
        dropout: Of the whole.
        fusion: How fixed vectors meet the rest: `concat` (one projection of all, beside it), `gate` or `attention`
            (`GatedFusion`, `AttentionFusion`: with the row's texts, or without texts with its other features).
        images: Pictures of the item, by name, as fixed vectors of a vision backbone: behind `vectors`.
        texts: Vectors of texts that a row has: 2 where query and item are encoded apart, else 1.

    Raises:
        ConfigError: on values out of range, a fusion of nothing, or a history with neither texts nor ids to read.
    """

    def __init__(
        self,
        text_width: int,
        vector_widths: Mapping[str, int],
        ids: Sequence[str] = (),
        buckets: int = 65_536,
        id_width: int = 16,
        numbers: Mapping[str, str] | None = None,
        number_encoding: str = "periodic",
        number_width: int = 16,
        number_bins: int = 16,
        vectors: Sequence[str] = (),
        vector_width: int = 32,
        history: int = 0,
        dropout: float = 0.0,
        fusion: str = "concat",
        images: Sequence[str] = (),
        texts: int = 1,
    ) -> None:
        super().__init__()
        self.needs = feature_needs(text_width > 0, ids, buckets, numbers, vectors, history, images)
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"features.dropout={dropout} must lie in [0, 1).")
        transforms = dict(numbers or {})
        self.ids = HashedIds(len(ids), buckets, id_width) if ids or self.needs.history_ids else None
        self.numbers = Numbers(transforms, number_encoding, number_width, number_bins) if transforms else None
        widths = [vector_widths[name] for name in self.needs.vectors]
        wide, fused = sum(widths), fusion != "concat"
        self.vectors: nn.Module | None = None
        if widths and fused:
            self.vectors = Modalities(widths, vector_width)
        elif widths:
            self.vectors = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, vector_width), nn.ReLU())
        self.attention = TargetAttention(text_width or id_width) if history else None
        self.dropout = dropout
        self.width = len(ids) * id_width + (self.numbers.width if self.numbers else 0)
        self.width += self.attention.width if self.attention else 0
        self.reads_texts = text_width > 0
        context_width = texts * text_width if self.reads_texts else self.width
        self.fusion = build_fusion(fusion, context_width, len(widths), vector_width)
        self.width += vector_width if widths else 0

    def fit(self, values: Mapping[str, NDArray[np.floating]]) -> None:
        """Measure the training rows' numbers."""
        if self.numbers is not None:
            self.numbers.fit(values)

    def forward(self, batch: Batch, text_vectors: Float[Tensor, "texts text_width"]) -> Float[Tensor, "rows width"]:
        """One vector per row."""
        before, after = [], []
        if self.ids is not None and batch.ids is not None:
            before.append(self.ids(batch.ids))
        if self.numbers is not None and batch.numbers is not None:
            before.append(self.numbers(batch.numbers))
        if self.attention is not None:
            after.append(self._attended(batch, text_vectors))
        if self.vectors is not None and batch.vectors is not None:
            vectors = batch.vectors.to(text_vectors.dtype)
            found = self.vectors(vectors)
            if self.fusion is not None:
                context = self._context(batch, text_vectors, [*before, *after])
                found = self.fusion(context, found, cast(Modalities, self.vectors).there(vectors))
            before.append(found)
        return F.dropout(torch.cat([*before, *after], dim=-1), self.dropout, self.training)

    def _context(self, batch: Batch, text_vectors: Tensor, others: list[Tensor]) -> Tensor:
        """What vectors are fused with: the row's texts; without texts its other features."""
        if self.reads_texts:
            others = [text_vectors[batch.text_of_row[name]] for name in TEXTS if name in batch.text_of_row]
        return torch.cat(others, dim=-1) if others else text_vectors.new_zeros(batch.row.shape[0], 0)

    def _attended(self, batch: Batch, text_vectors: Tensor) -> Float[Tensor, "rows width"]:
        assert self.attention is not None
        assert batch.history is not None
        if self.needs.history_ids:
            assert self.ids is not None
            assert batch.candidate is not None
            table, candidate = self.ids.table.weight, self.ids.table(batch.candidate)
        else:
            table, candidate = text_vectors, text_vectors[batch.text_of_row["item"]]
        there = batch.history >= 0
        return self.attention(candidate, table[batch.history.clamp(min=0)], there)  # type: ignore[no-any-return]


def feature_needs(
    texts: bool,
    ids: Sequence[str],
    buckets: int,
    numbers: Mapping[str, str] | None,
    vectors: Sequence[str],
    history: int,
    images: Sequence[str] = (),
) -> FeatureNeeds:
    """What the log has to hand over for these features."""
    if history < 0:
        raise ConfigError(f"features.history={history} must be >= 0; 0 reads no history.")
    for name in ids:
        if list(ids).count(name) > 1:
            raise ConfigError(f"features.ids names {name!r} twice; name each once.")
    every = (*vectors, *images)
    for name in every:
        if every.count(name) > 1:
            raise ConfigError(f"features.vectors and vision.images name {name!r} twice; name each once.")
    return FeatureNeeds(
        ids=tuple(ids),
        buckets=buckets,
        numbers=tuple(numbers or {}),
        vectors=every,
        images=tuple(images),
        history=history,
        history_ids=history > 0 and not texts,
    )
