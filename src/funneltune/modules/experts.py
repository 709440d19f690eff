"""How a mixture uses its experts: what its gates give each on average, and how evenly."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def expert_use(gates: Mapping[str, Float[Tensor, "rows experts"]]) -> dict[str, Float[Tensor, ""]]:
    """`head/gate_NAME/EXPERT`, the mean weight of each expert over a batch, and `head/gate_NAME/effective`, the number
    of experts that carry a row on average: the exponential of the weights' entropy.
    """
    found: dict[str, Tensor] = {}
    for name, weights in gates.items():
        weights = weights.detach().float()
        for number, mean in enumerate(weights.mean(dim=0)):
            found[f"head/gate_{name}/{number}"] = mean
        found[f"head/gate_{name}/effective"] = torch.exp(-torch.special.xlogy(weights, weights).sum(dim=1)).mean()
    return found
