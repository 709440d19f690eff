"""The LightningModules: wiring, no maths."""

from funneltune.modules.adversary import FGM, PGD, Adversary
from funneltune.modules.base import FunnelModule
from funneltune.modules.dp_sgd import DPSGD, NoPrivacy
from funneltune.modules.language import LanguageModule
from funneltune.modules.meter import PredictionMeter
from funneltune.modules.private_steps import PrivateSteps
from funneltune.modules.schedule import constant, warmup_linear
from funneltune.modules.variants import (
    AdaLoRATuning,
    AdapterTuning,
    FrozenBackbone,
    FullFineTuning,
    FusionTuning,
    UpdateTuning,
    module_class,
)

__all__ = [
    "DPSGD",
    "FGM",
    "PGD",
    "AdaLoRATuning",
    "AdapterTuning",
    "Adversary",
    "FrozenBackbone",
    "FullFineTuning",
    "FunnelModule",
    "FusionTuning",
    "LanguageModule",
    "NoPrivacy",
    "PredictionMeter",
    "PrivateSteps",
    "UpdateTuning",
    "constant",
    "module_class",
    "warmup_linear",
]
