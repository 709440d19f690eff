"""All of the backbone, or none of it."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from funneltune.tuning.protocol import WeightTuning


class Full(WeightTuning):
    """Every weight moves (Devlin et al. 2019). `learning_rate`: of the backbone; the head has the optimizer's."""

    name = "full"
    label = "Full"

    def __init__(self, learning_rate: float = 5e-5) -> None:
        super().__init__(learning_rate)

    def apply(self, backbone: PreTrainedModel) -> None:
        """Everything is trained."""
        self._backbone = backbone.requires_grad_(True)


class Frozen(WeightTuning):
    """No weight of the backbone moves: the head learns on what the pretrained vectors know by themselves."""

    name = "frozen"
    label = "Frozen"

    def __init__(self) -> None:
        super().__init__(learning_rate=1.0)  # of no weight at all

    @property
    def lowest_trained_layer(self) -> int:
        """Above every layer."""
        return int(self.backbone.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]

    def apply(self, backbone: PreTrainedModel) -> None:
        """Nothing is trained."""
        self._backbone = backbone.requires_grad_(False)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """No group."""
        return []
