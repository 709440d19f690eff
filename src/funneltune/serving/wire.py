"""What goes over the wire: the bodies of requests and answers, as OpenAPI tells them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from funneltune.serving.fields import Body, DiversityFields, ExposureFields, Key, Plain, RulesFields, Time
from funneltune.serving.limits import ITEMS, PAIRS, TOP

Side = Literal["a", "b"]
"""`a`: the run given as run=, `b`: the one given as run_b=."""


class RankRequest(Body):
    """A search, or a shopper at the start page."""

    run: Side = "a"
    query: Plain = Field(default="", description="The words of a search.")
    user: Plain = Field(default="", description="The log's key of the shopper; an unknown one has no past.")
    time: Time | None = Field(default=None, description="Unix seconds; without it, after all that the log holds.")
    items: Annotated[list[Key], Field(min_length=1, max_length=ITEMS)] | None = Field(
        default=None, description="The candidates themselves; without them `candidates` finds some."
    )
    ranking: Plain = Field(default="", description="One of `rankings` of GET /runs; the fields below change it.")
    candidates: Key | None = Field(default=None, description="How candidates are found: see `candidates` of GET /runs.")
    depth: int | None = Field(default=None, ge=1, le=ITEMS, description="How many candidates are found; else 1,000.")
    by: Annotated[Plain, Field(max_length=200)] = Field(
        default="",
        description="What decides: one of `by` of GET /runs, or a weighted sum as 0.2*ctr + 0.8*ctcvr.",
    )
    calibration: Plain = Field(default="", description="One of `calibrations` of GET /runs; else the run's own.")
    top: int | None = Field(default=None, ge=1, le=TOP, description="Places; else the ranking's, or 20.")
    diversity: DiversityFields | None = None
    rules: RulesFields | None = None
    exposure: ExposureFields | None = None


class Pair(Body):
    """One row to score."""

    query: Plain = ""
    user: Plain = ""
    item: Key
    time: Time | None = None


class ScoreRequest(Body):
    """Rows to score."""

    run: Side = "a"
    pairs: Annotated[list[Pair], Field(min_length=1, max_length=PAIRS)]


class ExplainRequest(Body):
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
    value: float = Field(description="What it is worth, with boosts.")
    before: int = Field(description="Its place by value alone among all candidates.")
    why: str = Field(description="The rules that moved it, or what happened around it.")
    about: dict[str, str] = Field(description="What the log tells of the item.")


class RankAnswer(BaseModel):
    """A list, best first."""

    run: Side
    ranking: str = Field(description="The named ranking; empty: none.")
    by: str
    candidates: str
    competed: int = Field(description="Candidates.")
    dropped: str = Field(description="How many of them each rule drops.")
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
    by: list[str]
    rankings: list[str]
    candidates: list[str]
    calibration: str
    calibrations: list[str]
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
