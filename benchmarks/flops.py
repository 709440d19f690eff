"""Model FLOPs of a training step: what the mathematics needs for its unique tokens, whatever is computed."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from benchmarks.ours import Ours
from funneltune.backbones import Encoder

TIMES_FORWARD = {"lora": 2, "full": 3}
"""Forward, the gradient of states (lora), and that of weights as well (full)."""


def forward_flops(encoder: Encoder, lengths: Tensor) -> float:
    """2 x (weights of the layers' matrices) per token, and 4 x width x length per token and layer for attention."""
    matrices = sum(
        p.numel()
        for name, p in encoder.backbone.encoder.layer.named_parameters()
        if p.ndim == 2 and "lora_" not in name
    )
    tokens, squares = float(lengths.sum()), float(np.square(lengths.numpy().astype(float)).sum())
    return 2 * matrices * tokens + 4 * encoder.n_layers * encoder.width * squares


def step_flops(ours: Ours, batches: int) -> list[float]:
    """Of the first so many training batches; the head is left out."""
    module, data = ours.assembly.module, ours.assembly.data
    assert isinstance(module.encoder, Encoder)
    times = TIMES_FORWARD[module.tuning.name]
    draws = zip(data.plan(0).draws(), range(batches), strict=False)
    return [times * forward_flops(module.encoder, data.collator()(draw).texts.lengths) for draw, _ in draws]
