"""What a configured model weighs and costs, counted on tensors without storage: no weights, no network.

Papers print parameters and FLOPs of their settings; these are ours of the same settings, from the config alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from funneltune.backbones import Backbone
from funneltune.backbones.families import known_family
from funneltune.errors import ConfigError

LENGTH = 128
"""Tokens of the text that FLOPs are counted for, as papers on BERT have it."""
QUANTITIES = ("trained", "share", "share_of_layers", "total", "flops")


@dataclass(frozen=True)
class Counts:
    """Sizes of a backbone and of what a tuning method trains in it. The head and a pooler are not counted."""

    total: int
    """Parameters of the bare backbone, embeddings included; adapters are not of it."""
    layers: int
    """Those of its layers: without embeddings and what stands before or behind the layers."""
    trained: int
    """Trained at the end: the final ranks' share of a budget that shrinks, norms included where they are trained."""
    adapters: int
    """The same without the norms."""
    flops: int
    """Of one forward pass over one text, two for each multiplication and addition of matrix products; embeddings are
    looked up, and what is done element by element (activations, norms, softmax) is not counted.
    """

    @property
    def share(self) -> float:
        """Trained parameters over all of the bare backbone."""
        return self.trained / self.total

    @property
    def share_of_layers(self) -> float:
        """Trained parameters, norms apart, over those of the bare backbone's layers."""
        return self.adapters / self.layers

    def value(self, what: str) -> float:
        """A quantity by its name in the registry of papers.

        Raises:
            ConfigError: for another name.
        """
        if what not in QUANTITIES:
            raise ConfigError(f"counts.what={what} must be one of {', '.join(QUANTITIES)}.")
        return float(getattr(self, what))


def count(cfg: DictConfig, length: int = LENGTH) -> Counts:
    """The counts of a config's backbone under its tuning method, for one text of `length` tokens.

    Raises:
        ConfigError: if it has no backbone, `length` is out of range, or weights of several sets are asked for.
    """
    from funneltune.runs.targets import build

    if length < 1:
        raise ConfigError(f"length={length} must be >= 1, in tokens.")
    spec, method = build(cfg.backbone), build(cfg.tuning)
    if not isinstance(spec, Backbone):
        raise ConfigError("backbone=none has nothing to count; choose a backbone, e.g. backbone=shapes/bert_base.")
    if method.sharing != "shared":
        raise ConfigError(
            f"tuning.sharing={method.sharing} has a set of weights per task; count tuning.sharing=shared."
        )
    with torch.device("meta"):
        backbone = dataclasses.replace(spec, pretrained=False).model().eval()
        total, layers, flops = _size(backbone), _size_of_layers(backbone), _flops(backbone, length)
        method.apply(backbone)
        started = sum(p.numel() for p in method.trained().values())
        norms = started - _without_norms(method)
        adapters = int(method.trained_at_end())
    return Counts(total, layers, adapters + norms, adapters, flops)


def _size(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _size_of_layers(backbone: PreTrainedModel) -> int:
    family = known_family(backbone.config)
    return _size(backbone if family is None else backbone.get_submodule(family.layers))


def _without_norms(method: Any) -> int:
    from funneltune.tuning.protocol import is_norm

    within = method.backbone
    return sum(
        p.numel() for name, p in method.trained().items() if not is_norm(within.get_submodule(name.rpartition(".")[0]))
    )


def _flops(backbone: PreTrainedModel, length: int) -> int:
    """Counted while the bare backbone runs on shapes alone; vectors come in where embeddings would be looked up."""
    looked_up = backbone.get_input_embeddings().weight.shape[1]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(inputs_embeds=torch.zeros(1, length, looked_up))
    return int(counter.get_total_flops())
