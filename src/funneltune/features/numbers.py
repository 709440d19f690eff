"""Numbers as vectors: scaled by the training rows, then embedded (Gorishniy et al. 2022).

Legend: R rows, N numbers, T bins, F frequencies, W width of an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from funneltune.errors import ConfigError

Transform = Literal["standard", "log", "quantile"]
Encoding = Literal["periodic", "piecewise_linear", "plain"]
KNOTS = 256
FREQUENCY = 0.3
"""Standard deviation of the initial frequencies, in cycles per standard deviation of a number."""


class Numbers(nn.Module):
    """Each number by its transform, then by one encoding, then through a linear layer and ReLU of its own.

    Transforms: `standard` (mean 0, variance 1), `log` (sign(x) log(1 + |x|), then standard), `quantile` (rank among the
    training rows, uniform with variance 1). Encodings: `periodic`, sin and cos of trained frequencies (eq. 2);
    `piecewise_linear`, how far each of `bins` quantile bins is filled (eq. 1); `plain`, the number itself.

    Args:
        transforms: Transform of each number, in the batch's order.
        encoding: One for all.
        width: Of each embedding; ignored by `plain`.
        bins: Bins or frequencies.

    Raises:
        ConfigError: on a word that nothing knows.
    """

    knots: Tensor
    centre: Tensor
    spread: Tensor
    edges: Tensor

    def __init__(self, transforms: Mapping[str, str], encoding: str, width: int, bins: int) -> None:
        super().__init__()
        for name, transform in transforms.items():
            if transform not in get_args(Transform):
                raise ConfigError(
                    f"features.numbers.{name}={transform!r} must be one of {', '.join(get_args(Transform))}."
                )
        if encoding not in get_args(Encoding):
            raise ConfigError(f"features.number_encoding={encoding!r} must be one of {', '.join(get_args(Encoding))}.")
        if bins < 2 or width < 1:
            raise ConfigError(f"features: number_bins={bins} must be >= 2 and number_width={width} >= 1.")
        self.transforms, self.encoding = dict(transforms), encoding
        count = len(transforms)
        self.register_buffer("knots", torch.zeros(count, KNOTS))
        self.register_buffer("centre", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.register_buffer("edges", torch.linspace(-2, 2, bins + 1).repeat(count, 1))
        inner = {"periodic": 2 * bins, "piecewise_linear": bins, "plain": 0}[encoding]
        self.frequencies = nn.Parameter(FREQUENCY * torch.randn(count, bins)) if encoding == "periodic" else None
        self.weight = nn.Parameter(torch.randn(count, inner, width) / math.sqrt(inner)) if inner else None
        self.bias = nn.Parameter(torch.zeros(count, width)) if inner else None
        self.width = count * (width if inner else 1)

    def fit(self, values: Mapping[str, NDArray[np.floating]]) -> None:
        """Measure the training rows: knots, means, spreads and bin edges."""
        for index, (name, transform) in enumerate(self.transforms.items()):
            raw = np.asarray(values[name], dtype=np.float64)
            self.knots[index] = torch.from_numpy(np.quantile(raw, np.linspace(0, 1, KNOTS))).float()
            scaled = np.sign(raw) * np.log1p(np.abs(raw)) if transform == "log" else raw
            self.centre[index] = float(scaled.mean())
            self.spread[index] = float(scaled.std()) or 1.0
        stacked = torch.from_numpy(np.stack([np.asarray(values[name]) for name in self.transforms], axis=1)).float()
        scaled_RN = self.scaled(stacked.to(self.knots.device))
        share = torch.linspace(0, 1, self.edges.shape[1], device=scaled_RN.device)
        for index in range(len(self.transforms)):
            # np.quantile has no limit on rows, torch.quantile has (2 ** 24)
            found = np.quantile(scaled_RN[:, index].cpu().numpy(), share.cpu().numpy())
            self.edges[index] = torch.from_numpy(found).to(self.edges)

    def medians(self) -> Float[Tensor, " numbers"]:
        """Of the training rows."""
        return (self.knots[:, KNOTS // 2 - 1] + self.knots[:, KNOTS // 2]) / 2

    def scaled(self, values_RN: Float[Tensor, "rows numbers"]) -> Float[Tensor, "rows numbers"]:
        """The numbers after their transforms."""
        columns = []
        for index, transform in enumerate(self.transforms.values()):
            x = values_RN[:, index]
            if transform == "quantile":
                columns.append((self._rank(x, self.knots[index]) - 0.5) * math.sqrt(12))
                continue
            x = torch.sign(x) * torch.log1p(x.abs()) if transform == "log" else x
            columns.append((x - self.centre[index]) / self.spread[index])
        return torch.stack(columns, dim=1)

    @staticmethod
    def _rank(x: Float[Tensor, " rows"], knots: Float[Tensor, " knots"]) -> Float[Tensor, " rows"]:
        """The share of training rows below x, linear between knots; the middle of a run of equal knots."""
        low = torch.searchsorted(knots, x.contiguous(), right=False)
        high = torch.searchsorted(knots, x.contiguous(), right=True)
        last = len(knots) - 1
        left, right = knots[(low - 1).clamp(0, last)], knots[low.clamp(0, last)]
        between = (x - left) / (right - left).clamp(min=1e-12)
        inside = (low - 1 + between).clamp(0, last)
        return torch.where(high > low, (low + high - 1) / 2.0, inside) / last

    def forward(self, values_RN: Float[Tensor, "rows numbers"]) -> Float[Tensor, "rows width"]:
        """The embeddings side by side."""
        x_RN = self.scaled(values_RN.to(self.centre.dtype))
        if self.weight is None or self.bias is None:
            return x_RN
        if self.frequencies is not None:
            angle_RNF = 2 * math.pi * x_RN.unsqueeze(-1) * self.frequencies
            inner = torch.cat([angle_RNF.sin(), angle_RNF.cos()], dim=-1)
        else:
            inner = self._filled(x_RN)
        embedded_RNW = torch.einsum("rni,niw->rnw", inner, self.weight) + self.bias
        return F.relu(embedded_RNW).flatten(1)

    def _filled(self, x_RN: Float[Tensor, "rows numbers"]) -> Float[Tensor, "rows numbers bins"]:
        """How far each bin is filled: 1 below, 0 above, linear inside; open at both ends."""
        low, high = self.edges[:, :-1], self.edges[:, 1:]
        part = (x_RN.unsqueeze(-1) - low) / (high - low).clamp(min=1e-6)
        bins = part.shape[-1]
        floor = torch.zeros(bins, device=part.device)
        ceiling = torch.ones(bins, device=part.device)
        floor[0], ceiling[-1] = -2.0, 3.0  # beyond the training rows, the ends go on for a while
        return torch.minimum(torch.maximum(part, floor), ceiling)
