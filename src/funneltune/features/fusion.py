"""How fixed vectors of an item (a picture's, say) are brought together with what else a row is.

Legend: R rows, M modalities (the row's own context first, then each fixed vector), W width of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from funneltune.errors import ConfigError

Fused = Literal["concat", "gate", "attention"]


class Modalities(nn.Module):
    """Each fixed vector through a LayerNorm and a linear layer of its own, to the same width, side by side.

    Args:
        widths: Of the vectors, in their order.
        width: Of each afterwards.
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.widths = list(widths)
        self.projections = nn.ModuleList(nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, width)) for wide in widths)

    def forward(self, vectors: Float[Tensor, "rows wide"]) -> Float[Tensor, "rows width"]:
        """M - 1 vectors of W, end to end."""
        parts = torch.split(vectors, self.widths, dim=-1)
        return torch.cat([layer(part) for layer, part in zip(self.projections, parts, strict=True)], dim=-1)

    def there(self, vectors: Float[Tensor, "rows wide"]) -> Bool[Tensor, "rows others"]:
        """Which of its vectors a row's item has: one that is all zeros is none."""
        return torch.stack([(part != 0).any(dim=-1) for part in torch.split(vectors, self.widths, dim=-1)], dim=-1)


class Fusion(nn.Module):
    """What gates and attention share: the row's own context is a modality, and one that is missing weighs nothing.

    Args:
        context_width: Of what else the row is (its texts; without texts its other features); 0: nothing.
        others: Number of fixed vectors.
        width: W.
    """

    def __init__(self, context_width: int, others: int, width: int) -> None:
        super().__init__()
        self.others, self.width, self.context_width = others, width, context_width
        self.context = (
            nn.Sequential(nn.LayerNorm(context_width), nn.Linear(context_width, width)) if context_width else None
        )

    def modalities(
        self,
        context: Float[Tensor, "rows context"],
        vectors: Float[Tensor, "rows wide"],
        there: Bool[Tensor, "rows others"],
    ) -> tuple[Float[Tensor, "rows modalities width"], Bool[Tensor, "rows modalities"]]:
        """All modalities of the rows, zeros where one is missing, and which are there."""
        tokens_RMW = vectors.view(-1, self.others, self.width)
        if self.context is not None:
            tokens_RMW = torch.cat([self.context(context).unsqueeze(1), tokens_RMW], dim=1)
            there = torch.cat([torch.ones_like(there[:, :1]), there], dim=1)
        return tokens_RMW * there.unsqueeze(-1).to(tokens_RMW.dtype), there


class GatedFusion(Fusion):
    """Gated multimodal units (Arevalo et al. 2017, eq. 1-5): h = sum_m z_m * tanh(W_m x_m), element by element.

    The gates z_m see all modalities and are a softmax over them: of two they are the paper's z and 1 - z, of more they
    still sum to 1. A missing one has z_m = 0, the others share its part.
    """

    def __init__(self, context_width: int, others: int, width: int) -> None:
        super().__init__(context_width, others, width)
        count = others + int(context_width > 0)
        self.values = nn.Parameter(torch.randn(count, width, width) / math.sqrt(width))
        self.gates = nn.Linear(count * width, count * width)

    def weights(
        self, tokens: Float[Tensor, "rows modalities width"], there: Bool[Tensor, "rows modalities"]
    ) -> Float[Tensor, "rows modalities width"]:
        """The gates; zeros where nothing is there."""
        scores = self.gates(tokens.flatten(1)).view_as(tokens)
        return masked_softmax(scores, there.unsqueeze(-1).expand_as(scores))

    def forward(
        self,
        context: Float[Tensor, "rows context"],
        vectors: Float[Tensor, "rows wide"],
        there: Bool[Tensor, "rows others"],
    ) -> Float[Tensor, "rows width"]:
        """One vector per row."""
        tokens, there = self.modalities(context, vectors, there)
        return (self.weights(tokens, there) * torch.tanh(torch.einsum("rmw,mwv->rmv", tokens, self.values))).sum(dim=1)


class AttentionFusion(Fusion):
    """Attention over modalities (Vaswani et al. 2017, eq. 1): softmax(q K^T / sqrt(W)) V, the row's context asking.

    Without a context a trained vector asks. A missing modality is masked; where none is there, zeros come out.
    """

    def __init__(self, context_width: int, others: int, width: int) -> None:
        super().__init__(context_width, others, width)
        self.ask = nn.Parameter(torch.zeros(width))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def weights(
        self, tokens: Float[Tensor, "rows modalities width"], there: Bool[Tensor, "rows modalities"]
    ) -> Float[Tensor, "rows modalities"]:
        """What the row's context heeds; sums to 1."""
        asking = self.ask.expand(tokens.shape[0], -1) if self.context is None else tokens[:, 0] + self.ask
        scores = torch.einsum("rw,rmw->rm", self.query(asking), self.key(tokens)) / math.sqrt(self.width)
        return masked_softmax(scores, there)

    def forward(
        self,
        context: Float[Tensor, "rows context"],
        vectors: Float[Tensor, "rows wide"],
        there: Bool[Tensor, "rows others"],
    ) -> Float[Tensor, "rows width"]:
        """One vector per row."""
        tokens, there = self.modalities(context, vectors, there)
        return torch.einsum("rm,rmw->rw", self.weights(tokens, there), self.value(tokens))


def masked_softmax(scores: Float[Tensor, rows * rest], there: Bool[Tensor, rows * rest]) -> Float[Tensor, rows * rest]:
    """Softmax over the second axis of what is there; zeros where nothing is."""
    kept = F.softmax(scores.masked_fill(~there, -1e9), dim=1)
    return kept * there.to(scores.dtype)


def build_fusion(word: str, context_width: int, others: int, width: int) -> GatedFusion | AttentionFusion | None:
    """The fusion by its config word; None: `concat`, vectors stand beside the rest.

    Raises:
        ConfigError: on a word that nothing knows, or a fusion of nothing.
    """
    if word not in get_args(Fused):
        raise ConfigError(f"features.fusion={word!r} must be one of {', '.join(get_args(Fused))}.")
    if word == "concat":
        return None
    if not others:
        raise ConfigError(
            f"features.fusion={word} fuses vectors or pictures of items, and there are none; name features.vectors, "
            "choose vision=, or set features.fusion=concat."
        )
    return (GatedFusion if word == "gate" else AttentionFusion)(context_width, others, width)
