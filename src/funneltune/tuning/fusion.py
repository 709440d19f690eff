"""AdapterFusion (Pfeiffer et al. 2021): attention over what the frozen adapters of several runs put out, per layer.

Legend: N adapters, positions P (any leading axes), W width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from funneltune.errors import TuningError
from funneltune.tuning.bottleneck import ACTIVATIONS, AdaptedNorm, BottleneckAdapter, Residual, read_start
from funneltune.tuning.protocol import WeightTuning, require_same

WEIGHTS, MANIFEST = "weights/trained.safetensors", "weights/manifest.json"
"""Of a run's folder."""
PREFIX = "backbone."
METHODS = ("houlsby", "pfeiffer", "pfeiffer_hub")


class AdapterFusion(Residual):
    """h + sum_n s_n V z_n, s = softmax_n((Q h) . (K z_n)): 3 width^2 parameters beside the adapters, which are frozen.

    h is what the block puts out, z_n what adapter n adds to it (Pfeiffer et al. 2021, section 3.2, without biases). V
    starts as the identity: with one adapter the layer then is that adapter, exactly. Q starts at zero, and so all
    adapters count alike at first; the paper draws Q and K.
    """

    def __init__(self, width: int, adapters: Sequence[BottleneckAdapter], init_std: float) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(adapters).requires_grad_(False)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        nn.init.zeros_(self.query.weight)
        nn.init.normal_(self.key.weight, std=init_std)
        nn.init.eye_(self.value.weight)
        self.last: Float[Tensor, " adapters"] | None = None
        """Mean attention of each adapter over the positions that were read last."""

    def change(self, states: Float[Tensor, "*positions width"]) -> Float[Tensor, "*positions width"]:
        """What the fused adapters add."""
        z_PNW = torch.stack([adapter.change(states) for adapter in self._each()], dim=-2)
        agreement = torch.einsum("...w,...nw->...n", self.query(states), self.key(z_PNW))
        attention = torch.softmax(agreement.float(), dim=-1).to(z_PNW.dtype)
        self.last = attention.detach().reshape(-1, len(self.adapters)).float().mean(dim=0)
        fused: Tensor = torch.einsum("...n,...nw->...w", attention, self.value(z_PNW))
        return fused

    def _each(self) -> Iterator[BottleneckAdapter]:
        for adapter in self.adapters:
            assert isinstance(adapter, BottleneckAdapter)
            yield adapter


class Fusion(WeightTuning):
    """Fuses the bottleneck adapters of finished runs; only the attention between them is trained.

    What is stored holds the adapters too: the runs need only be there when a run is built.

    Args:
        runs: Folders of runs with the same backbone and the same bottleneck adapters, one a domain.
        activation: Of their adapters.
        regularisation: Weight of the squared distance of each V from the identity (AdapterHub's 0.01).
        init_std: Of K at the start.
        learning_rate: Of Q, K and V.
        sharing: `shared`: tasks share the fused adapters.

    Raises:
        TuningError: if a value is out of range, or a run is no run with bottleneck adapters alone.
    """

    name = "fusion"
    label = "AdapterFusion"
    pretrains = ""
    only_shared = "its adapters are those of several runs already"

    def __init__(
        self,
        runs: Sequence[str] = (),
        activation: str = "gelu",
        regularisation: float = 0.01,
        init_std: float = 0.02,
        learning_rate: float = 1e-3,
        sharing: str = "shared",
    ) -> None:
        super().__init__(learning_rate, sharing=sharing)
        if activation not in ACTIVATIONS:
            raise TuningError(f"tuning.activation={activation!r} must be one of {', '.join(ACTIVATIONS)}.")
        if not regularisation >= 0:
            raise TuningError(f"tuning.regularisation={regularisation} must be >= 0.")
        if not init_std > 0:
            raise TuningError(f"tuning.init_std={init_std} must be above 0: with Q at zero nothing would learn.")
        self.runs = tuple(map(str, runs))
        self.activation, self.regularisation, self.init_std = activation, regularisation, init_std
        self._fused: dict[str, AdapterFusion] = {}

    def apply(self, backbone: PreTrainedModel) -> None:
        """Put the runs' adapters in, side by side, and train what weighs them."""
        if not self.runs:
            raise TuningError("tuning.runs=[] names no adapters to fuse; name runs: tuning.runs=[RUN1,RUN2].")
        stored = [_adapters_of(run) for run in self.runs]
        if odd := next((run for run, one in zip(self.runs, stored, strict=True) if one.keys() != stored[0].keys()), ""):
            raise TuningError(
                f"tuning.runs: {odd} has its adapters in other places than {self.runs[0]}; fuse like runs."
            )
        self._backbone = backbone.requires_grad_(False)
        width = int(backbone.config.hidden_size)
        for place in stored[0]:
            adapters = [
                _built(run, width, one[place], self.activation) for run, one in zip(self.runs, stored, strict=True)
            ]
            fusion = AdapterFusion(width, adapters, self.init_std)
            _put(backbone, place, fusion)
            self._fused[place] = fusion

    def take_up(self, method: str, tensors: Mapping[str, Tensor]) -> None:
        """The attention of a run that fused as many; of runs with adapters nothing, they are in their places already.

        Raises:
            TuningError: if the run was tuned otherwise, or what it fused does not fit.
        """
        if method not in METHODS:
            require_same(self.name, method)
            self.restore(self.backbone, tensors)

    def penalty(self) -> Float[Tensor, ""]:
        """`regularisation` times the squared distances of all V from the identity, added up."""
        total = torch.zeros((), device=next(iter(self._fused.values())).value.weight.device)
        for fusion in self._fused.values():
            weight = fusion.value.weight.float()
            total = total + F.mse_loss(weight, torch.eye(len(weight), device=weight.device), reduction="sum")
        return self.regularisation * total

    def attention(self) -> list[float]:
        """Mean attention of each run's adapter, over layers and the positions that were read last."""
        seen = [fusion.last for fusion in self._fused.values() if fusion.last is not None]
        return [float(share) for share in torch.stack(seen).mean(dim=0)] if seen else []

    def export(self, backbone: nn.Module) -> dict[str, Tensor]:
        """Q, K, V and the adapters."""
        return {
            f"{place}.{name}": tensor.detach()
            for place, fusion in self._places().items()
            for name, tensor in fusion.named_parameters()
        }

    def restore(self, backbone: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Copy Q, K, V and the adapters back.

        Raises:
            TuningError: if names or shapes are not those of the fused runs.
        """
        own = {f"{place}.{n}": p for place, fusion in self._places().items() for n, p in fusion.named_parameters()}
        odd = sorted(own.keys() ^ tensors.keys()) or [n for n, p in own.items() if p.shape != tensors[n].shape]
        if odd:
            raise TuningError(
                f"tuning=fusion: stored weights do not fit, {odd[0]!r} is missing or has another shape; "
                "load them with the config they were trained with."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(tensors[name])

    def _places(self) -> dict[str, AdapterFusion]:
        return {name: m for name, m in self.backbone.named_modules() if isinstance(m, AdapterFusion)}


def _adapters_of(run: str) -> dict[str, dict[str, Tensor]]:
    """Place of each adapter -> its tensors, of a finished run.

    Raises:
        TuningError: if the folder holds no bottleneck adapters, or more was trained than they.
    """
    folder = Path(run)
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        method = str(manifest["tuning"])
    except (OSError, ValueError, KeyError, TypeError):
        raise TuningError(f"tuning.runs: {run} holds no weights of a finished run; name folders of runs.") from None
    if method not in METHODS:
        raise TuningError(
            f"tuning.runs: {run} was tuned by tuning={method}, which has no bottleneck adapters; fuse runs of "
            f"{', '.join(METHODS)}."
        )
    inside = {n.removeprefix(PREFIX): t for n, t in read_start(str(folder / WEIGHTS)).items() if n.startswith(PREFIX)}
    places = sorted({name.removesuffix(".down.weight") for name in inside if name.endswith(".down.weight")})
    found = {
        place: {n.removeprefix(f"{place}."): t for n, t in inside.items() if n.startswith(f"{place}.")}
        for place in places
    }
    if odd := sorted(set(inside) - {f"{place}.{name}" for place, one in found.items() for name in one}):
        raise TuningError(
            f"tuning.runs: {run} trained {odd[0]!r} beside its adapters, and one backbone holds one; fuse runs with "
            "tuning.train_layer_norm=false and tuning.sharing=shared."
        )
    return found


def _built(run: str, width: int, tensors: Mapping[str, Tensor], activation: str) -> BottleneckAdapter:
    bottleneck, inside = tensors["down.weight"].shape
    if inside != width:
        raise TuningError(f"tuning.runs: {run} adapted a backbone of width {inside}, and this one's is {width}.")
    adapter = BottleneckAdapter(width, int(bottleneck), init_std=1e-3, activation=activation)
    adapter.load_state_dict(dict(tensors))
    return adapter


def _put(backbone: nn.Module, place: str, fusion: AdapterFusion) -> None:
    """Where the adapter was: behind a block's end (`END.1`), or inside its norm (`NORM.adapter`).

    Raises:
        TuningError: if the backbone has no such place.
    """
    end, _, leaf = place.rpartition(".")
    try:
        module = backbone.get_submodule(end)
    except AttributeError:
        raise TuningError(f"tuning.runs: the backbone has no {end!r}; fuse runs of the same backbone.") from None
    joined: nn.Module = AdaptedNorm(module, fusion) if leaf == "adapter" else nn.Sequential(module, fusion)
    backbone.set_submodule(end, joined)
