"""The multilayer perceptron that every head is built from."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from funneltune.errors import ConfigError


def mlp(width: int, hidden: Sequence[int], dropout: float) -> tuple[nn.Sequential, int]:
    """Linear, ReLU and dropout per entry of `hidden`; returns the network and the width of its output."""
    if any(size < 1 for size in hidden):
        raise ConfigError(f"head.hidden={list(hidden)} must hold widths >= 1.")
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"head.dropout={dropout} must lie in [0, 1).")
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
        width = size
    return nn.Sequential(*layers), width


def tower(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """An MLP that ends in one logit; the last layer starts small, so that a head starts near p = 1/2."""
    network, top = mlp(width, hidden, dropout)
    last = nn.Linear(top, 1)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(network, last)
