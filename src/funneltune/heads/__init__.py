"""Vectors to one logit per task."""

from funneltune.heads.esmm import ESMM
from funneltune.heads.protocol import Head
from funneltune.heads.shared_bottom import SharedBottom
from funneltune.heads.single import Single
from funneltune.heads.towers import SideTowers

__all__ = ["ESMM", "Head", "SharedBottom", "SideTowers", "Single"]
