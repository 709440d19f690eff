"""Texts to vectors: pretrained transformers, pooled, and how a row's texts interact."""

from funneltune.backbones.boundary import BoundaryCache, Caching
from funneltune.backbones.encoder import Encoder, Hidden
from funneltune.backbones.interaction import CrossInteraction, TwinInteraction, build_interaction
from funneltune.backbones.none import NoBackbone, NoEncoder, NoInteraction
from funneltune.backbones.resolve import DROPOUTS, Backbone
from funneltune.backbones.views import WeightSets
from funneltune.backbones.vision import NoVision, Vision

__all__ = [
    "DROPOUTS",
    "Backbone",
    "BoundaryCache",
    "Caching",
    "CrossInteraction",
    "Encoder",
    "Hidden",
    "NoBackbone",
    "NoEncoder",
    "NoInteraction",
    "NoVision",
    "TwinInteraction",
    "Vision",
    "WeightSets",
    "build_interaction",
]
