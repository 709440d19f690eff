"""Bottleneck adapters: what Houlsby's and Pfeiffer's methods put into the layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from funneltune.errors import TuningError
from funneltune.tuning.protocol import WeightTuning, is_norm

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}


class Residual(nn.Module):
    """h + change(h)."""

    def change(self, states: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions width"]:
        """What is added."""
        raise NotImplementedError

    def forward(self, states: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions width"]:
        """Hidden states, changed a little."""
        return states + self.change(states)


class BottleneckAdapter(Residual):
    """h + up(act(down(h))): 2 * width * bottleneck + bottleneck + width parameters, near the identity at its start.

    Weights are drawn from a normal of `init_std` cut at two standard deviations, biases are zero, as in the code of
    Houlsby et al. (2019).
    """

    def __init__(self, width: int, bottleneck: int, init_std: float, activation: str = "gelu") -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        self.activation = activation
        self.draw(init_std)

    def draw(self, init_std: float) -> None:
        """Start afresh."""
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
            nn.init.zeros_(layer.bias)

    def change(self, states: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions width"]:
        """What the adapter adds."""
        added: Tensor = self.up(ACTIVATIONS[self.activation](self.down(states)))
        return added


class AdaptedNorm(nn.Module):
    """LN(s + adapter's change of LN(s)) for the residual sum s: AdapterHub's place, which reads the block's output."""

    def __init__(self, norm: nn.Module, adapter: Residual) -> None:
        super().__init__()
        self.norm, self.adapter = norm, adapter

    def forward(self, summed: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions width"]:
        """The block's output with the adapter's change inside."""
        output: Tensor = self.norm(summed + self.adapter.change(self.norm(summed)))
        return output


class BottleneckTuning(WeightTuning):
    """What the adapter methods share.

    Args:
        bottleneck: Width of the bottleneck, Houlsby's m.
        train_layer_norm: Train the norms of the adapted layers too (all of the backbone's without `top`).
        init_std: Of the adapters' weights at the start, above 0; small keeps the pretrained function.
        activation: gelu, relu or silu.
        learning_rate: Of adapters and norms.
        top: Adapt only so many of the highest layers; None: all.
        sharing: Whom adapters and norms serve: `shared`, `per_task` or `mixture`.
        adapters: Sets of a mixture; None: as many as tasks.
        start: A file of adapters and norms that `funneltune pretrain` wrote, to start from; None: near the identity.

    Raises:
        TuningError: if a value is out of range, the backbone has no blocks that are known, or the file does not fit.
    """

    size = "bottleneck"
    pretrains = "start"

    def __init__(
        self,
        bottleneck: int,
        train_layer_norm: bool,
        init_std: float,
        activation: str,
        learning_rate: float,
        top: int | None,
        sharing: str,
        adapters: int | None,
        start: str | None = None,
    ) -> None:
        super().__init__(learning_rate, top, sharing, adapters)
        if bottleneck < 1:
            raise TuningError(f"tuning.bottleneck={bottleneck} must be >= 1.")
        if not init_std > 0:
            raise TuningError(
                f"tuning.init_std={init_std} must be above 0: no gradient reaches matrices that are all zeros; 0.001 "
                "is near the identity."
            )
        if activation not in ACTIVATIONS:
            raise TuningError(f"tuning.activation={activation!r} must be one of {', '.join(ACTIVATIONS)}.")
        self.bottleneck, self.train_layer_norm, self.init_std = bottleneck, train_layer_norm, init_std
        self.activation, self.start = activation, start

    def apply(self, backbone: PreTrainedModel) -> None:
        """Put the adapters in, train them (and norms), freeze the rest."""
        layers = self.layers(backbone)
        backbone.requires_grad_(False)
        width = int(backbone.config.hidden_size)
        for layer in layers.values():
            for end in self._ends(backbone):
                adapter = BottleneckAdapter(width, self.bottleneck, self.init_std, self.activation)
                layer.set_submodule(end, self._place(layer.get_submodule(end), adapter))
        if self.train_layer_norm:
            for within in [backbone] if self.top is None else layers.values():
                for module in within.modules():
                    if is_norm(module) and not isinstance(module, AdaptedNorm):
                        module.requires_grad_(True)
        self._backbone = backbone
        if self.start is not None:
            self.restore(backbone, read_start(self.start))

    def merge(self) -> None:
        """Raises TuningError: there is a nonlinearity between the matrices."""
        raise TuningError(
            f"tuning={self.name} has no place in the backbone's own matrices; start from it: tuning.start."
        )

    def _ends(self, backbone: PreTrainedModel) -> tuple[str, ...]:
        """Modules of a layer that an adapter is joined to."""
        raise NotImplementedError

    def _place(self, end: nn.Module, adapter: BottleneckAdapter) -> nn.Module:
        # A block ends in dropout(dense(x)), then the residual: what follows the end is inside the residual.
        return nn.Sequential(end, adapter)

    def _adapters(self) -> dict[str, BottleneckAdapter]:
        return {name: m for name, m in self.backbone.named_modules() if isinstance(m, BottleneckAdapter)}

    def redraw(self) -> bool:
        """The adapters, not the norms; stored ones are no draw."""
        if self.start is not None:
            return False
        for adapter in self._adapters().values():
            adapter.draw(self.init_std)
        return True

    def _adapter_weights(self) -> list[nn.Parameter]:
        inside = tuple(f"{name}." for name in self._adapters())
        return [p for copy in self.copies() for name, p in copy.items() if name.startswith(inside)]

    def adapter_parameters(self) -> int:
        """Parameters of the adapters alone, norms apart."""
        return sum(p.numel() for p in self._adapter_weights())

    @torch.no_grad()
    def weight_norm(self) -> float:
        """Euclidean norm of the adapters' weights: how far they are from the identity."""
        squares = [p.float().square().sum() for p in self._adapter_weights()]
        return float(torch.stack(squares).sum().sqrt())


def read_start(where: str) -> dict[str, Tensor]:
    """The tensors of adapters that were trained before.

    Raises:
        TuningError: if there are none.
    """
    try:
        return load_file(where)
    except (OSError, SafetensorError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise TuningError(
            f"tuning.start={where} holds no adapters ({first}); name the adapters.safetensors that "
            "`funneltune pretrain` wrote."
        ) from None
