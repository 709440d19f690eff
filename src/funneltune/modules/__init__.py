"""The LightningModules: wiring, no maths."""

from funneltune.modules.base import FunnelModule
from funneltune.modules.meter import PredictionMeter
from funneltune.modules.schedule import constant, warmup_linear
from funneltune.modules.variants import (
    AdaLoRATuning,
    AdapterTuning,
    FrozenBackbone,
    FullFineTuning,
    UpdateTuning,
    module_class,
)

__all__ = [
    "AdaLoRATuning",
    "AdapterTuning",
    "FrozenBackbone",
    "FullFineTuning",
    "FunnelModule",
    "PredictionMeter",
    "UpdateTuning",
    "constant",
    "module_class",
    "warmup_linear",
]
