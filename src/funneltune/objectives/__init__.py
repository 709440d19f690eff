"""Logits and labels to a loss per task."""

from funneltune.objectives.base import Objective
from funneltune.objectives.bce import EntireSpaceBCE, MaskedBCE, NaiveBCE
from funneltune.objectives.rows import RowLoss

__all__ = ["EntireSpaceBCE", "MaskedBCE", "NaiveBCE", "Objective", "RowLoss"]
