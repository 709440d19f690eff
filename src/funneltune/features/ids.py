"""Categorical ids as hashed embeddings."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor, nn

from funneltune.errors import ConfigError


class HashedIds(nn.Module):
    """One table that all ids share; a feature's name is part of what is hashed (Coleman et al. 2023).

    Ids that were never trained on find a bucket that stayed small, or another id's; more buckets make that rarer.

    Args:
        features: Ids per row.
        buckets: Rows of the table.
        width: Of each embedding.
    """

    def __init__(self, features: int, buckets: int, width: int) -> None:
        super().__init__()
        for name, value in (("buckets", buckets), ("id_width", width)):
            if value < 1:
                raise ConfigError(f"features.{name}={value} must be >= 1.")
        self.table = nn.Embedding(buckets, width)
        nn.init.normal_(self.table.weight, std=0.01)
        self.width = features * width

    def forward(self, buckets: Int[Tensor, "rows features"]) -> Float[Tensor, "rows width"]:
        """The embeddings side by side."""
        found: Tensor = self.table(buckets)
        return found.flatten(1)
