"""Attention over packed rows of short texts, in the form that is quickest on each device."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "funneltune_packed"


def as_bias(mask: Bool[Tensor, "*shape"], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The mask as a CPU wants it: added to the scores, 0 where a position may look and -inf elsewhere.

    Made once for all layers, in the dtype of the scores (autocast's where it is on). Other devices keep the mask.
    """
    if device.type != "cpu":
        return mask
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    return torch.zeros(mask.shape, dtype=dtype, device=device).masked_fill_(~mask, -torch.inf)


def packed_attention(
    module: nn.Module,
    query: Float[Tensor, "rows heads positions head_width"],
    key: Float[Tensor, "rows heads positions head_width"],
    value: Float[Tensor, "rows heads positions head_width"],
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "rows positions heads head_width"], None]:
    """Softmax(q k^T / sqrt(d) + bias) v, as `transformers` calls it.

    On rows this short the fused CPU kernel's backward and the checks of its plain form (for rows that may look
    nowhere; ours has none) cost more than the products: they are written out here. Elsewhere torch's kernel is used.
    """
    if query.device.type != "cpu":
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=False, **others
        )
        return output, None
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    weights = torch.softmax(scores if attention_mask is None else scores + attention_mask, dim=-1)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), None


AttentionInterface.register(NAME, packed_attention)
