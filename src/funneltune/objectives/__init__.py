"""Logits and labels to a loss per task."""

from funneltune.objectives.balancing import DWA, Aggregation, Balancing, Fixed, GradNorm, Uncertainty
from funneltune.objectives.base import Objective
from funneltune.objectives.bce import EntireSpaceBCE, MaskedBCE, NaiveBCE
from funneltune.objectives.dcmt import DCMT
from funneltune.objectives.escm2 import ESCM2DR, ESCM2IPS
from funneltune.objectives.lists import ListTerm
from funneltune.objectives.rows import RowLoss

__all__ = [
    "DCMT",
    "DWA",
    "Aggregation",
    "Balancing",
    "ESCM2DR",
    "ESCM2IPS",
    "EntireSpaceBCE",
    "Fixed",
    "GradNorm",
    "ListTerm",
    "MaskedBCE",
    "NaiveBCE",
    "Objective",
    "RowLoss",
    "Uncertainty",
]
