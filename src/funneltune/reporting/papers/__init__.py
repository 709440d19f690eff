"""The registry of papers: their tables and claims, held against the records of our studies."""

from funneltune.reporting.papers.entry import SCALES, Paper
from funneltune.reporting.papers.pages import LITERATURE, Counted, listing, literature_page, paper_page, plain, rows
from funneltune.reporting.papers.verdicts import NOT_RUN, STATUSES, OnPaper, Shelf, judge_paper

__all__ = [
    "Counted",
    "LITERATURE",
    "NOT_RUN",
    "OnPaper",
    "Paper",
    "SCALES",
    "STATUSES",
    "Shelf",
    "judge_paper",
    "listing",
    "literature_page",
    "paper_page",
    "plain",
    "rows",
]
