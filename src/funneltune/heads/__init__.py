"""Vectors to one logit per task."""

from funneltune.heads.aitm import AITM
from funneltune.heads.cross_stitch import CrossStitch
from funneltune.heads.esm2 import ESM2
from funneltune.heads.esmm import ESMM
from funneltune.heads.mmoe import MMoE
from funneltune.heads.omoe import OMoE
from funneltune.heads.ple import PLE
from funneltune.heads.protocol import Head
from funneltune.heads.shared_bottom import SharedBottom
from funneltune.heads.single import Single
from funneltune.heads.stem import STEM
from funneltune.heads.towers import SideTowers

__all__ = [
    "AITM",
    "CrossStitch",
    "ESM2",
    "ESMM",
    "Head",
    "MMoE",
    "OMoE",
    "PLE",
    "STEM",
    "SharedBottom",
    "SideTowers",
    "Single",
]
