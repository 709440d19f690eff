"""Bottleneck adapters after attention and after the feed-forward network (Houlsby et al. 2019)."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from funneltune.errors import TuningError
from funneltune.tuning.protocol import WeightTuning

BLOCK_ENDS = re.compile(r"encoder\.layer\.\d+\.(attention\.output|output)")
"""The two places of a BERT-like layer where a projection ends and the residual connection adds."""


class BottleneckAdapter(nn.Module):
    """h + up(gelu(down(h))): 2 * width * bottleneck + bottleneck + width parameters, near the identity at its start.

    Weights are drawn from a normal of `init_std` cut at two standard deviations, biases are zero, as in the authors'
    code.
    """

    def __init__(self, width: int, bottleneck: int, init_std: float) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
            nn.init.zeros_(layer.bias)

    def forward(self, states: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions width"]:
        """Hidden states, changed a little."""
        change: Tensor = self.up(F.gelu(self.down(states)))
        return states + change


class Houlsby(WeightTuning):
    """Adapters inside each residual connection, after the projection and its dropout, with all LayerNorms trained.

    Args:
        bottleneck: Width of the bottleneck, the paper's m.
        train_layer_norm: Train every LayerNorm as the paper does; False freezes them (a common deviation).
        init_std: Of the adapters' weights at the start; small keeps the pretrained function.
        learning_rate: Of adapters and LayerNorms.

    Raises:
        TuningError: if a value is out of range, or the backbone has no blocks that are known.
    """

    name = "houlsby"
    label = "Houlsby"

    def __init__(
        self,
        bottleneck: int = 64,
        train_layer_norm: bool = True,
        init_std: float = 1e-3,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__(learning_rate)
        if bottleneck < 1:
            raise TuningError(f"tuning.bottleneck={bottleneck} must be >= 1.")
        if init_std < 0:
            raise TuningError(f"tuning.init_std={init_std} must be >= 0.")
        self.bottleneck, self.train_layer_norm, self.init_std = bottleneck, train_layer_norm, init_std

    def apply(self, backbone: PreTrainedModel) -> None:
        """Insert two adapters per layer and freeze the rest."""
        backbone.requires_grad_(False)
        ends = [
            module
            for name, module in backbone.named_modules()
            if BLOCK_ENDS.fullmatch(name) and hasattr(module, "dropout") and hasattr(module, "LayerNorm")
        ]
        if not ends:
            raise TuningError(
                f"tuning=houlsby does not know the blocks of {type(backbone).__name__}; it adapts BERT-like encoders "
                "(encoder.layer.N.attention.output, encoder.layer.N.output)."
            )
        width = backbone.config.hidden_size
        for end in ends:
            adapter = BottleneckAdapter(width, self.bottleneck, self.init_std)
            # The block is LayerNorm(dropout(dense(x)) + residual): what follows the dropout is inside the residual.
            end.dropout = nn.Sequential(end.dropout, adapter)
        if self.train_layer_norm:
            for module in backbone.modules():
                if isinstance(module, nn.LayerNorm):
                    module.requires_grad_(True)
        self._backbone = backbone

    def adapter_parameters(self) -> int:
        """Parameters of the adapters alone, LayerNorms apart."""
        adapters = [m for m in self.backbone.modules() if isinstance(m, BottleneckAdapter)]
        return sum(p.numel() for adapter in adapters for p in adapter.parameters())

    @torch.no_grad()
    def weight_norm(self) -> float:
        """Euclidean norm of the adapters' weights: how far they are from the identity."""
        adapters = [m for m in self.backbone.modules() if isinstance(m, BottleneckAdapter)]
        squares = [p.float().square().sum() for adapter in adapters for p in adapter.parameters()]
        return float(torch.stack(squares).sum().sqrt())
