"""A trained run put to use."""

from funneltune.decisions.items import Items
from funneltune.decisions.ranking import Ranked, Ranker
from funneltune.decisions.requests import Request, logged_requests, read_requests
from funneltune.decisions.scorer import Scorer

__all__ = ["Items", "Ranked", "Ranker", "Request", "Scorer", "logged_requests", "read_requests"]
