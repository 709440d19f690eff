"""All of the backbone, its highest layers, its biases, or none of it."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from funneltune.errors import TuningError
from funneltune.tuning.protocol import WeightTuning


class Full(WeightTuning):
    """Every weight moves (Devlin et al. 2019), or every weight of the `top` layers and of what lies above them.

    `learning_rate`: of the backbone; the head has the optimizer's.
    """

    name = "full"
    label = "Full"
    only_shared = "every task would have a model of its own, which are several runs"

    def __init__(self, learning_rate: float = 5e-5, top: int | None = None, sharing: str = "shared") -> None:
        super().__init__(learning_rate, top, sharing)

    def apply(self, backbone: PreTrainedModel) -> None:
        """Everything is trained, or the top of it."""
        self._backbone = backbone.requires_grad_(self.top is None)
        if self.top is not None:
            above = [backbone.get_submodule(name) for name in self.family(backbone).above]
            for module in (*self.layers(backbone).values(), *above):
                module.requires_grad_(True)


class BitFit(WeightTuning):
    """Only biases move (Ben Zaken et al. 2022): of all layers, embeddings and norms, or of the `top` layers.

    Raises:
        TuningError: if the backbone has no biases there.
    """

    name = "bitfit"
    label = "BitFit"

    def __init__(
        self,
        learning_rate: float = 1e-3,
        top: int | None = None,
        sharing: str = "shared",
        adapters: int | None = None,
    ) -> None:
        super().__init__(learning_rate, top, sharing, adapters)

    def apply(self, backbone: PreTrainedModel) -> None:
        """Biases are trained."""
        self._backbone = backbone.requires_grad_(False)
        within = [backbone] if self.top is None else list(self.layers(backbone).values())
        biases = [p for module in within for name, p in module.named_parameters() if name.endswith("bias")]
        if not biases:
            raise TuningError(
                f"tuning=bitfit trains biases, and {type(backbone).__name__} has none; choose another method."
            )
        for bias in biases:
            bias.requires_grad_(True)


class Frozen(WeightTuning):
    """No weight of the backbone moves: the head learns on what the pretrained vectors know by themselves."""

    name = "frozen"
    label = "Frozen"
    only_shared = "it tunes nothing that tasks could have to themselves"

    def __init__(self, sharing: str = "shared") -> None:
        super().__init__(learning_rate=1.0, sharing=sharing)  # a rate of no weight at all

    def apply(self, backbone: nn.Module) -> None:
        """Nothing is trained."""
        self._backbone = backbone.requires_grad_(False)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """No group."""
        return []
