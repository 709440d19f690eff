"""Logits and labels to a loss per task."""

from funneltune.objectives.bce import EntireSpaceBCE, MaskedBCE

__all__ = ["EntireSpaceBCE", "MaskedBCE"]
