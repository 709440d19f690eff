"""Ids, numbers, fixed vectors and the shopper's history to one vector per row, beside the texts'."""

from funneltune.features.features import Features, feature_needs
from funneltune.features.fusion import AttentionFusion, GatedFusion, Modalities
from funneltune.features.history import TargetAttention
from funneltune.features.ids import HashedIds
from funneltune.features.numbers import Numbers

__all__ = [
    "AttentionFusion",
    "Features",
    "GatedFusion",
    "HashedIds",
    "Modalities",
    "Numbers",
    "TargetAttention",
    "feature_needs",
]
