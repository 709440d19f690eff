"""Vectors to one logit per task."""

from funneltune.heads.esmm import ESMM
from funneltune.heads.shared_bottom import SharedBottom
from funneltune.heads.single import Single

__all__ = ["ESMM", "SharedBottom", "Single"]
