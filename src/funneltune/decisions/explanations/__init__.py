"""Why a run gives an item the probability that it gives it."""

from funneltune.decisions.explanations.asking import explained, parse_what_if, write
from funneltune.decisions.explanations.explainer import Explainer, explain, explain_row
from funneltune.decisions.explanations.explanation import (
    Change,
    Completeness,
    Evidence,
    Explanation,
    Neighbour,
    Pushing,
    Word,
)
from funneltune.decisions.explanations.page import to_html

__all__ = [
    "Change",
    "Completeness",
    "Evidence",
    "Explainer",
    "Explanation",
    "Neighbour",
    "Pushing",
    "Word",
    "explain",
    "explain_row",
    "explained",
    "parse_what_if",
    "to_html",
    "write",
]
