"""AdaLoRA's factors of a matrix: what they are called, how far they are from orthonormal, how ranks are dropped."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from peft.tuners.adalora.layer import AdaLoraLayer
from torch import Tensor, nn

from funneltune.errors import TuningError
from funneltune.tuning.peft_based import ADAPTER

FACTORS = {"lora_A": 0, "lora_E": 0, "lora_B": 1}
"""PEFT's names of P, the singular values and Q, and the dimension of each that counts ranks."""


def orthogonality(factors: list[Tensor]) -> Float[Tensor, ""]:
    """Mean over all P and Q of the Frobenius norm of (P P^T - I), each factor with its rank first; in float32.

    Zhang et al. 2023, eq. 4, as the authors' code and PEFT have it: not squared, averaged over the factors (one of
    rank 0 counts, as zero).
    """
    norms = []
    with torch.autocast(device_type=factors[0].device.type, enabled=False):
        for factor in factors:
            wide = factor.float()
            norms.append(torch.linalg.matrix_norm(wide @ wide.T - torch.eye(len(wide), device=wide.device)))
        return torch.stack(norms).mean()


def resize(layer: AdaLoraLayer, parts: Mapping[str, Tensor]) -> None:
    """Replace a layer's factors by ones of another rank; the scaling stays alpha / initial_rank.

    Factors of rank 0 are not trained: the layer's forward passes over them.
    """
    device = layer.lora_A[ADAPTER].device
    for part, values in parts.items():
        fresh = nn.Parameter(values.detach().clone().to(device), requires_grad=values.numel() > 0)
        getattr(layer, part)[ADAPTER] = fresh
    layer.r[ADAPTER] = len(parts["lora_E"])


def require_names(layers: Mapping[str, AdaLoraLayer], tensors: Mapping[str, Tensor]) -> None:
    """Raises TuningError unless stored tensors are the factors of these layers."""
    expected = {f"{name}.{part}.{ADAPTER}" for name in layers for part in (*FACTORS, "ranknum")}
    if odd := sorted(expected ^ set(tensors)):
        raise TuningError(
            f"tuning=adalora: stored weights do not fit, {odd[0]!r} is missing or unknown; "
            "load them with the config they were trained with."
        )


@torch.no_grad()
def put_first(layers: Mapping[str, AdaLoraLayer], tensors: Mapping[str, Tensor]) -> None:
    """Copy stored factors into the first ranks of fresh layers that have more, whose own singular values are 0: so
    that the layers compute what the stored ones did.

    Raises:
        TuningError: if they are factors of other layers, of a larger rank, or were scaled otherwise.
    """
    require_names(layers, tensors)
    for name, layer in layers.items():
        stored = {part: tensors[f"{name}.{part}.{ADAPTER}"] for part in FACTORS}
        begun = float(tensors[f"{name}.ranknum.{ADAPTER}"])
        if begun != float(layer.ranknum[ADAPTER]) or stored["lora_A"].shape[1:] != layer.lora_A[ADAPTER].shape[1:]:
            raise TuningError(
                f"start: {name!r} has a stored update of another shape, or that began with rank {begun:g} and here "
                f"with {float(layer.ranknum[ADAPTER]):g}; set tuning.initial_rank as that run had it."
            )
        for part, dim in FACTORS.items():
            own = getattr(layer, part)[ADAPTER]
            own.narrow(dim, 0, stored[part].shape[dim]).copy_(stored[part])
