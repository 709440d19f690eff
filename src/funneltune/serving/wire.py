"""What goes over the wire: the bodies of requests and answers, as OpenAPI tells them."""

from __future__ import annotations

import math
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from funneltune.serving.limits import CHOICES, ITEMS, LETTERS, PAIRS, TOP

Side = Literal["a", "b"]
"""`a`: the run given as run=, `b`: the one given as run_b=."""


def plain(text: str) -> str:
    """A text without control characters, blanks of all kinds as one.

    Raises:
        ValueError: for a control character (line ends and tabs are blanks).
    """
    told = " ".join(text.split())
    if not told.isprintable():  # most texts are, and need no second look
        for letter in told:
            if unicodedata.category(letter) == "Cc":
                raise ValueError(f"must hold no control character, and holds U+{ord(letter):04X}")
    return told


def in_words(value: Any) -> str:
    """A value of the log, short, as people read it; empty where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())[:80]


Plain = Annotated[str, Field(max_length=LETTERS), AfterValidator(plain)]
Key = Annotated[str, Field(min_length=1, max_length=LETTERS), AfterValidator(plain)]
Price = Annotated[float, Field(ge=0, le=1e12)]
Time = Annotated[float, Field(ge=0, le=1e11)]


class _Asked(BaseModel):
    """Bodies of requests: no unknown field, no number as text, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Filters(_Asked):
    """Which candidates may be in the list."""

    price_from: Price | None = None
    price_to: Price | None = None
    among: dict[Key, Annotated[list[Plain], Field(min_length=1, max_length=CHOICES)]] = Field(
        default_factory=dict,
        max_length=10,
        description="Column of the items -> values that pass, as {'brand': ['Quill']}.",
    )
    without: list[Key] = Field(default_factory=list, max_length=ITEMS, description="Items that do not pass.")


class RankRequest(_Asked):
    """A search, or a shopper at the start page."""

    run: Side = "a"
    query: Plain = Field(default="", description="The words of a search.")
    user: Plain = Field(default="", description="The log's key of the shopper; an unknown one has no past.")
    time: Time | None = Field(default=None, description="Unix seconds; without it, after all that the log holds.")
    items: Annotated[list[Key], Field(min_length=1, max_length=ITEMS)] | None = Field(
        default=None, description="The candidates themselves; without them `candidates` finds some."
    )
    candidates: Key | None = Field(default=None, description="How candidates are found: see `candidates` of GET /runs.")
    by: Annotated[Plain, Field(max_length=200)] = Field(
        default="",
        description="What the order is by: one of `rankings` of GET /runs, or a weighted sum as 0.2*ctr + 0.8*ctcvr.",
    )
    top: int = Field(default=20, ge=1, le=TOP)
    filters: Filters = Field(default_factory=Filters)


class Pair(_Asked):
    """One row to score."""

    query: Plain = ""
    user: Plain = ""
    item: Key
    time: Time | None = None


class ScoreRequest(_Asked):
    """Rows to score."""

    run: Side = "a"
    pairs: Annotated[list[Pair], Field(min_length=1, max_length=PAIRS)]


class ExplainRequest(_Asked):
    """One row to explain."""

    run: Side = "a"
    query: Plain = ""
    user: Plain = ""
    item: Key
    time: Time | None = None
    rate: Plain = Field(default="", description="Which probability: see `rates` of GET /runs; without it, the last.")


class Placed(BaseModel):
    """An item in its place."""

    place: int
    item: str
    title: str
    price: float | None
    p: dict[str, float | None] = Field(description="Rate (ctr, cvr, ctcvr) -> calibrated probability.")
    value: float = Field(description="What the order is by.")
    about: dict[str, str] = Field(description="What the log tells of the item.")


class RankAnswer(BaseModel):
    """A list, best first."""

    run: Side
    by: str
    candidates: str
    competed: int = Field(description="Candidates that passed the filters.")
    ranked: list[Placed]


class ScoreAnswer(BaseModel):
    """Probabilities in the order of the pairs."""

    run: Side
    scores: list[dict[str, float | None]]


class Suggested(BaseModel):
    """A query or a shopper of the log."""

    key: str
    requests: int = Field(description="How often the log has it.")
    about: dict[str, str]


class Suggestions(BaseModel):
    """What there is to pick from, the most frequent first."""

    queries: list[Suggested]
    users: list[Suggested]


class Run(BaseModel):
    """A run that is served."""

    run: Side
    name: str
    tuning: str
    backbone: str
    head: str
    rates: list[str]
    labels: dict[str, str] = Field(description="Rate -> what it is the probability of.")
    rankings: list[str]
    candidates: list[str]
    calibration: str
    explains: bool
    reads_query: bool
    reads_user: bool
    items: int
    metrics: dict[str, float | None] = Field(description="Of the test split.")
    finished: str | None


class Runs(BaseModel):
    """Every run that is served."""

    runs: list[Run]


class Health(BaseModel):
    """Whether the process lives, and whether it takes requests."""

    live: bool
    ready: bool
    waiting: int


class Problem(BaseModel):
    """Why a request was refused: field, value and rule, in one line."""

    error: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's words for answers that are no success."""
    return {status: {"model": Problem, "description": REASONS[status]} for status in statuses}


REASONS = {
    400: "No JSON, or a host name that is not served",
    401: "No token",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not declared to be JSON",
    422: "A field breaks a rule",
    503: "Too many requests wait; see Retry-After",
    504: "The model did not answer in time",
}
