"""The category that a shopper buys from next: a calibrated distribution, and lists ranked by it."""

from funneltune.data.next_labels import Events
from funneltune.decisions.need.judging import Judged, Settings, Study, Truth, study
from funneltune.decisions.need.lists import Lists
from funneltune.decisions.need.log import Log, Moments, counts_before, moments, read_log
from funneltune.decisions.need.model import History, Need, fit
from funneltune.decisions.need.own import OwnTask
from funneltune.decisions.need.shoppers import asked_for, needs_of

__all__ = [
    "Events",
    "History",
    "Judged",
    "Lists",
    "Log",
    "Moments",
    "Need",
    "OwnTask",
    "Settings",
    "Study",
    "Truth",
    "asked_for",
    "counts_before",
    "fit",
    "moments",
    "needs_of",
    "read_log",
    "study",
]
