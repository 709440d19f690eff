"""Which weights of the backbone move, and how: one protocol, so that no one else asks which method it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from funneltune.backbones import WeightSets
from funneltune.backbones.families import Family, known_family
from funneltune.errors import TuningError
from funneltune.tuning.change import ParameterChange
from funneltune.tuning.sharing import check_sharing, mixture, per_task


class TuningMethod(Protocol):
    """A way of fine-tuning. Steps are optimizer steps, counted from 0."""

    name: str
    """The config's word."""
    label: str
    """What tables call it."""

    shardable: bool
    """Whether the method works where each rank holds a part of every gradient only (FSDP)."""
    only_multiplies: bool
    """Whether frozen matrices serve for products alone, so that they may be kept as autocast rounds them."""

    pretrains: str
    """What a stage of pretraining leaves of it: `merged` into the backbone's own weights, or tensors that a later
    `start` takes up beside unchanged weights; empty: neither."""

    sharing: str
    """Whom the tuned weights serve: `shared` by all tasks, a set `per_task`, a `mixture` of sets for each."""

    size: str
    """The argument that says how much is trained (`rank`, `bottleneck`); empty where there is nothing to choose."""

    def at_size(self, size: int) -> dict[str, int | float]:
        """Arguments under which the method has another size and is otherwise the same."""
        ...

    def trained_at_end(self) -> int:
        """Weights of the backbone that training ends with, LayerNorms apart; after `apply`."""
        ...

    @property
    def lowest_trained_layer(self) -> int:
        """How many of the lowest layers, embeddings included, hold nothing that is trained."""
        ...

    def apply(self, backbone: PreTrainedModel) -> None:
        """Change the backbone in place and set `requires_grad` on all of its parameters."""
        ...

    def share(self, views: Sequence[str]) -> WeightSets | None:
        """Called after `apply` with those who read a vector of each text (tasks, and SHARED where a head reads it
        beside theirs): the sets of tuned weights, for the encoder; None where there is one.
        """
        ...

    def take_up(self, method: str, tensors: Mapping[str, Tensor]) -> None:
        """Start training from what a run tuned by `method` exported, instead of the method's own start. Called between
        `share` and `begin`. Raises TuningError where they do not fit.
        """
        ...

    def begin(self, total_steps: int) -> None:
        """Called once the trainer knows how many optimizer steps there will be."""
        ...

    def penalty(self) -> Float[Tensor, ""]:
        """A term for the training loss, in float32; it never enters an evaluation."""
        ...

    def after_step(self, step: int) -> ParameterChange | None:
        """Called right after the optimizer's step, while its (reduced, accumulated) gradients still exist.

        What it replaced among the parameters, so that the caller gives the optimizer the new ones.
        """
        ...

    def finish(self) -> None:
        """Settle what training left open. Raises TuningError where a promised budget was missed."""
        ...

    def exportable(self) -> bool:
        """Whether the weights as they are now may be selected as a run's result."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups: `name`, `params`, `lr`."""
        ...

    def rank_pattern(self) -> dict[str, int] | None:
        """Live rank per adapted module, where a method has ranks."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep beside the module's own state: tensors, numbers, lists."""
        ...

    def make_room(self, state: Mapping[str, Any]) -> None:
        """Give the parameters the shapes that they had when `state` was kept, before their values are loaded."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse, after `begin`."""
        ...

    def export(self, backbone: PreTrainedModel) -> dict[str, Tensor]:
        """The tensors that training changed, by their names in the backbone."""
        ...

    def export_peft(self, folder: Path, *, write: bool = True) -> None:
        """Write PEFT's own adapter files, where the method has that form. All ranks call it; one has `write`."""
        ...

    def restore(self, backbone: PreTrainedModel, tensors: Mapping[str, Tensor]) -> None:
        """Bring an applied backbone to exported tensors."""
        ...

    def merge(self) -> None:
        """Leave a plain backbone that computes the same, after `finish`; where `pretrains` is `merged`."""
        ...


class WeightTuning:
    """What the methods share whose trained weights are ordinary parameters: no budget, no state of their own."""

    name = ""
    label = ""
    size = ""
    shardable = True
    only_multiplies = True
    pretrains = "merged"
    only_shared = ""
    """Why tasks cannot have weights of their own; empty where they can."""

    def __init__(
        self, learning_rate: float, top: int | None = None, sharing: str = "shared", adapters: int | None = None
    ) -> None:
        if not learning_rate > 0:
            raise TuningError(f"tuning.learning_rate={learning_rate} must be above 0.")
        if top is not None and top < 1:
            raise TuningError(f"tuning.top={top} must be >= 1, or null for all layers.")
        check_sharing(self.name, sharing, adapters, self.only_shared)
        self.learning_rate = learning_rate
        self.top = top
        self.sharing, self.adapters = sharing, adapters
        self._backbone: nn.Module | None = None
        self._sets: WeightSets | None = None

    @property
    def backbone(self) -> nn.Module:
        """The backbone that the method was applied to."""
        if self._backbone is None:
            raise TuningError(f"tuning={self.name} was not applied to a backbone yet; call apply first.")
        return self._backbone

    @property
    def lowest_trained_layer(self) -> int:
        """The number of the lowest layer that holds a trained weight; 0 where the embeddings or their norm are."""
        config = self.backbone.config
        trained, family = self.copies()[0], known_family(config)
        if not trained:
            return int(config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        if family is None:
            return 0
        numbers = set()
        for name in trained:
            inside = re.match(rf"{re.escape(family.layers)}\.(\d+)\.", name)
            if inside:
                numbers.add(int(inside.group(1)))
            elif name.partition(".")[0] not in family.above:
                return 0
        return min(numbers, default=int(config.num_hidden_layers))  # type: ignore[union-attr, arg-type]

    def family(self, backbone: PreTrainedModel) -> Family:
        """Where things are in this backbone.

        Raises:
            TuningError: if its architecture is unknown, or has fewer layers than `top`.
        """
        found = known_family(backbone.config)
        if found is None:
            raise TuningError(
                f"tuning={self.name} does not know the blocks of {type(backbone).__name__}; "
                "it needs an architecture of backbones/families.py."
            )
        layers = int(backbone.config.num_hidden_layers)
        if self.top is not None and self.top > layers:
            raise TuningError(f"tuning.top={self.top} must be <= {layers}, the backbone's layers; lower it.")
        return found

    def layers(self, backbone: PreTrainedModel) -> dict[str, nn.Module]:
        """The layers that are tuned, by name: all of them, or the `top` ones."""
        family = self.family(backbone)
        return {
            f"{family.layers}.{number}": backbone.get_submodule(f"{family.layers}.{number}")
            for number in family.numbers(backbone.config, self.top)
        }

    def at_size(self, size: int) -> dict[str, int | float]:
        """Nothing beside the size depends on it."""
        return {self.size: size}

    def trained_at_end(self) -> int:
        """The trained parameters that lie in no LayerNorm, of every set, and a mixture's gates."""
        inside = [n for n in self.copies()[0] if not is_norm(self.backbone.get_submodule(n.rpartition(".")[0]))]
        own = sum(copy[name].numel() for copy in self.copies() for name in inside)
        return own + (sum(p.numel() for p in self._sets.gate_parameters()) if self._sets is not None else 0)

    def share(self, views: Sequence[str]) -> WeightSets | None:
        """As `sharing` says."""
        if self.sharing == "per_task":
            self._sets = per_task(self.backbone, views)
        elif self.sharing == "mixture":
            self._sets = mixture(self.backbone, views, self.adapters, self.redraw)
        return self._sets

    def redraw(self) -> bool:
        """Draw anew what was drawn when the method was applied; False where nothing is."""
        return False

    def copies(self) -> list[dict[str, nn.Parameter]]:
        """The trained parameters by their names in the backbone; of each set, where there are several."""
        if self._sets is not None:
            return [self._sets.of(label) for label in self._sets.labels]
        return [{name: p for name, p in self.backbone.named_parameters() if p.requires_grad}]

    def take_up(self, method: str, tensors: Mapping[str, Tensor]) -> None:
        """The values of a run of the same method and size."""
        require_same(self.name, method)
        self.restore(self.backbone, tensors)

    def begin(self, total_steps: int) -> None:
        """Nothing to schedule."""

    def penalty(self) -> Float[Tensor, ""]:
        """None: zero, without a gradient."""
        return torch.zeros(())

    def after_step(self, step: int) -> ParameterChange | None:
        """Nothing to allocate."""
        return None

    def finish(self) -> None:
        """Nothing to settle."""

    def exportable(self) -> bool:
        """At any time."""
        return True

    def trained(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name; of several sets under `sets.`, with the gates that mix them."""
        return self.copies()[0] if self._sets is None else dict(self._sets.named_parameters("sets"))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group at the method's own rate."""
        return [{"name": self.name, "params": list(self.trained().values()), "lr": self.learning_rate}]

    def rank_pattern(self) -> dict[str, int] | None:
        """No ranks."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Nothing that torch does not keep."""
        return {}

    def make_room(self, state: Mapping[str, Any]) -> None:
        """Shapes never change."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""

    def export(self, backbone: nn.Module) -> dict[str, Tensor]:
        """The trained parameters."""
        return {name: p.detach() for name, p in self.trained().items()}

    def export_peft(self, folder: Path, *, write: bool = True) -> None:
        """None: these weights have no such form."""

    def merge(self) -> None:
        """Nothing to do: what moved are the backbone's own weights."""

    def restore(self, backbone: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Copy exported parameters back.

        Raises:
            TuningError: if names or shapes are not this method's.
        """
        expected = self.trained()
        odd = sorted(set(expected) ^ set(tensors))
        odd += [name for name in expected if name in tensors and expected[name].shape != tensors[name].shape]
        if odd:
            raise TuningError(
                f"tuning={self.name}: stored weights do not fit, {odd[0]!r} is missing or has another shape; "
                "load them with the config they were trained with."
            )
        with torch.no_grad():
            for name, parameter in expected.items():
                parameter.copy_(tensors[name])


def require_same(own: str, method: str) -> None:
    """Raises TuningError unless weights to start from were tuned by the same method."""
    if own != method:
        raise TuningError(
            f"start: that run was tuned by tuning={method}, and this is tuning={own}; give both the same."
        )


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a LayerNorm, whatever its architecture calls it (RMSNorm)."""
    return type(module).__name__.endswith("Norm")
