"""A shopper's question: what it is after, the passage that answers it and its source, or that there is none."""

from funneltune.decisions.assist.answering import WAYS, Answered, Assistant, Finder
from funneltune.decisions.assist.labelled import Labelled, read_labelled
from funneltune.decisions.assist.passages import Passages, passages_of, read_reviews, split_sentences
from funneltune.decisions.assist.phrasing import Phraser
from funneltune.decisions.assist.study import Judged, Studied, study, uncalibrated

__all__ = [
    "WAYS",
    "Answered",
    "Assistant",
    "Finder",
    "Judged",
    "Labelled",
    "Passages",
    "Phraser",
    "Studied",
    "passages_of",
    "read_labelled",
    "read_reviews",
    "split_sentences",
    "study",
    "uncalibrated",
]
