"""Prefix tuning: trained keys and values that every position may attend to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from funneltune.errors import TuningError
from funneltune.tuning.protocol import WeightTuning

SUFFIX = "_behind_a_prefix"


class PrefixPair(nn.Module):
    """Keys and values of a layer's prefix."""

    def __init__(self, length: int, heads: int, head_width: int, init_std: float) -> None:
        super().__init__()
        self.key = nn.Parameter(torch.randn(heads, length, head_width) * init_std)
        self.value = nn.Parameter(torch.randn(heads, length, head_width) * init_std)

    def draw(self, init_std: float) -> None:
        """Start afresh."""
        for parameter in (self.key, self.value):
            nn.init.normal_(parameter, std=init_std)


class Prefix(WeightTuning):
    """Each layer's attention sees `length` trained pairs of keys and values before the text (Li & Liang 2021).

    The pairs are parameters themselves: the paper's reparametrisation by an MLP is left out, as PEFT does by default.
    They are joined to keys and values inside the attention kernel, so that texts may be packed and positions stay as
    they are. It cannot equal the bare backbone at its start: attention is shared with the prefix from the first step.

    Args:
        length: Positions of the prefix.
        init_std: Of keys and values at the start.
        learning_rate: Of keys and values.
        top: Only in so many of the highest layers; None: all.
        sharing: Whom they serve: `shared`, `per_task` or `mixture`.
        adapters: Sets of a mixture; None: as many as tasks.

    Raises:
        TuningError: if a value is out of range, or the architecture's attention is not `transformers`' interface.
    """

    name = "prefix"
    label = "Prefix"
    size = "length"
    pretrains = ""

    def __init__(
        self,
        length: int = 10,
        init_std: float = 0.02,
        learning_rate: float = 1e-2,
        top: int | None = None,
        sharing: str = "shared",
        adapters: int | None = None,
    ) -> None:
        super().__init__(learning_rate, top, sharing, adapters)
        if length < 1:
            raise TuningError(f"tuning.length={length} must be >= 1.")
        if init_std < 0:
            raise TuningError(f"tuning.init_std={init_std} must be >= 0.")
        self.length, self.init_std = length, init_std

    def apply(self, backbone: PreTrainedModel) -> None:
        """Give each layer its prefix; everything else is frozen."""
        layers, family = self.layers(backbone), self.family(backbone)
        config = backbone.config
        before = str(config._attn_implementation)
        if before not in ALL_ATTENTION_FUNCTIONS:
            raise TuningError(
                f"tuning=prefix needs an attention that takes keys and values from outside; {type(backbone).__name__} "
                f"has its own ({before}); choose another method."
            )
        backbone.requires_grad_(False)
        heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
        width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        for layer in layers.values():
            pair = PrefixPair(self.length, heads, width, self.init_std)
            layer.get_submodule(family.attention).prefix = pair
        AttentionInterface.register(before + SUFFIX, behind_a_prefix(ALL_ATTENTION_FUNCTIONS[before]))
        backbone.set_attn_implementation(before + SUFFIX)
        self._backbone = backbone

    def redraw(self) -> bool:
        """Every key and value."""
        for module in self.backbone.modules():
            if isinstance(module, PrefixPair):
                module.draw(self.init_std)
        return self.init_std > 0


def behind_a_prefix(attend: Callable[..., Any]) -> Callable[..., Any]:
    """An attention function that sees a module's prefix, where it has one, before the row's keys and values."""

    def attention(
        module: nn.Module,
        query: Float[Tensor, "rows heads positions head_width"],
        key: Float[Tensor, "rows key_heads positions head_width"],
        value: Float[Tensor, "rows key_heads positions head_width"],
        attention_mask: Tensor | None,
        **others: Any,
    ) -> Any:
        pair = getattr(module, "prefix", None)
        if pair is None:
            return attend(module, query, key, value, attention_mask, **others)
        rows, length = key.shape[0], pair.key.shape[1]  # no len(): a tracer follows shapes alone
        key = torch.cat([pair.key.to(key.dtype).expand(rows, -1, -1, -1), key], dim=2)
        value = torch.cat([pair.value.to(value.dtype).expand(rows, -1, -1, -1), value], dim=2)
        if attention_mask is None and getattr(module, "is_causal", False):
            positions = query.shape[2]
            attention_mask = torch.ones(1, 1, positions, positions, dtype=torch.bool, device=query.device).tril()
        if attention_mask is not None:
            open_to_all = True if attention_mask.dtype == torch.bool else 0.0
            attention_mask = nn.functional.pad(attention_mask, (length, 0), value=open_to_all)
        return attend(module, query, key, value, attention_mask, **others)

    return attention
