"""Which weights move, and how. The only room that imports peft."""

from funneltune.tuning.adalora import AdaLoRA
from funneltune.tuning.bottleneck import BottleneckAdapter, BottleneckTuning
from funneltune.tuning.change import ParameterChange, Replaced
from funneltune.tuning.factors import orthogonality
from funneltune.tuning.full import BitFit, Frozen, Full
from funneltune.tuning.fusion import AdapterFusion, Fusion
from funneltune.tuning.houlsby import Houlsby, Pfeiffer, PfeifferHub
from funneltune.tuning.lora import IA3, DoRA, LoRA
from funneltune.tuning.peft_based import PeftTuning
from funneltune.tuning.prefix import Prefix
from funneltune.tuning.protocol import TuningMethod
from funneltune.tuning.schedule import RankSchedule

__all__ = [
    "IA3",
    "AdaLoRA",
    "AdapterFusion",
    "BitFit",
    "BottleneckAdapter",
    "BottleneckTuning",
    "DoRA",
    "Frozen",
    "Full",
    "Fusion",
    "Houlsby",
    "LoRA",
    "ParameterChange",
    "PeftTuning",
    "Pfeiffer",
    "PfeifferHub",
    "Prefix",
    "RankSchedule",
    "Replaced",
    "TuningMethod",
    "orthogonality",
]
