"""A trained run put to use."""

from funneltune.decisions.assortment import Assortment, new_items
from funneltune.decisions.exposure import Exposure
from funneltune.decisions.items import Items
from funneltune.decisions.pages import SUFFIXES, Summary, page_table, write_pages
from funneltune.decisions.recommend import Recommended, Recommender
from funneltune.decisions.requests import Request, logged_requests, read_requests
from funneltune.decisions.rules import Rules
from funneltune.decisions.scorer import Scorer
from funneltune.decisions.settings import Diversity, Ranking

__all__ = [
    "SUFFIXES",
    "Assortment",
    "Diversity",
    "Exposure",
    "Items",
    "Ranking",
    "Recommended",
    "Recommender",
    "Request",
    "Rules",
    "Scorer",
    "Summary",
    "logged_requests",
    "new_items",
    "page_table",
    "read_requests",
    "write_pages",
]
