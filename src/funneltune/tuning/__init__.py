"""Which weights move: full, frozen, Houlsby adapters, AdaLoRA. The only room that imports peft."""

from funneltune.tuning.adalora import AdaLoRA, orthogonality
from funneltune.tuning.full import Frozen, Full
from funneltune.tuning.houlsby import BottleneckAdapter, Houlsby
from funneltune.tuning.protocol import TuningMethod
from funneltune.tuning.schedule import RankSchedule

__all__ = [
    "AdaLoRA",
    "BottleneckAdapter",
    "Frozen",
    "Full",
    "Houlsby",
    "RankSchedule",
    "TuningMethod",
    "orthogonality",
]
