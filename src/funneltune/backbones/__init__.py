"""Texts to vectors: pretrained transformers, pooled, and how a row's texts interact."""

from funneltune.backbones.encoder import Encoder, Hidden
from funneltune.backbones.interaction import CrossInteraction, TwinInteraction, build_interaction
from funneltune.backbones.none import NoBackbone, NoEncoder, NoInteraction
from funneltune.backbones.resolve import Backbone

__all__ = [
    "Backbone",
    "CrossInteraction",
    "Encoder",
    "Hidden",
    "NoBackbone",
    "NoEncoder",
    "NoInteraction",
    "TwinInteraction",
    "build_interaction",
]
