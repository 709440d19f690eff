"""A trained run put to use."""

from funneltune.decisions.ranking import Ranked, Ranker

__all__ = ["Ranked", "Ranker"]
