"""How the encoded texts of a row become one vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from funneltune.backbones.none import NoInteraction
from funneltune.schema import Batch, Interaction


class TwinInteraction(nn.Module):
    """Query u and item v were encoded apart: [u, v, u * v, |u - v|, cos(u, v)].

    The features of InferSent and Sentence-BERT (Reimers & Gurevych 2019), and the cosine that MiniLM was trained on.
    """

    def __init__(self, text_width: int) -> None:
        super().__init__()
        self.width = 4 * text_width + 1

    def forward(self, batch: Batch, text_vectors: Float[Tensor, "texts text_width"]) -> Float[Tensor, "rows width"]:
        """One vector per row from the batch's unique texts."""
        u = text_vectors[batch.text_of_row["query"]]
        v = text_vectors[batch.text_of_row["item"]]
        cosine = F.cosine_similarity(u, v, dim=-1).unsqueeze(-1)
        return torch.cat([u, v, u * v, (u - v).abs(), cosine], dim=-1)


class CrossInteraction(nn.Module):
    """Query and item were read together: the pair's own vector."""

    def __init__(self, text_width: int) -> None:
        super().__init__()
        self.width = text_width

    def forward(self, batch: Batch, text_vectors: Float[Tensor, "texts text_width"]) -> Float[Tensor, "rows width"]:
        """One vector per row from the batch's unique pairs."""
        return text_vectors[batch.text_of_row["pair"]]


def build_interaction(interaction: Interaction, text_width: int) -> TwinInteraction | CrossInteraction | NoInteraction:
    """The interaction by its config word."""
    if interaction == "none":
        return NoInteraction()
    return TwinInteraction(text_width) if interaction == "twin" else CrossInteraction(text_width)
