"""What a file of the registry may hold: its keys, their kinds, and what must be found in one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

DISTANCE = "distance_from_one"
SHOWN = 60
Scaled = Literal["small", "full"]


class Form(BaseModel):
    """No unknown key, no text for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TableForm(Form):
    """A printed table."""

    title: str
    protocol: dict[str, str | int | float]
    unit: float = Field(gt=0)
    tolerance: float = Field(ge=0)
    tolerance_why: str = ""
    columns: list[str] = Field(min_length=1)
    rows: dict[str, list[float | None]]
    spreads: dict[str, list[float | None]] = {}

    @model_validator(mode="after")
    def _as_wide_as_its_head(self) -> Self:
        for name, rows in (("rows", self.rows), ("spreads", self.spreads)):
            for row, values in rows.items():
                _one_of(f"{name}.{row}", row, self.rows)
                if len(values) != len(self.columns):
                    raise ValueError(f"{name}.{row} has {len(values)} numbers for {len(self.columns)} columns")
        return self


class CountForm(Form):
    """A quantity that the paper prints and a config computes to."""

    of: str
    what: Literal["trained", "share", "share_of_layers", "total", "flops"]
    printed: float
    within: float = Field(ge=0)
    overrides: list[str]
    length: int | None = Field(default=None, ge=1)
    explained: str = ""


class EffectForm(Form):
    """A claim's size, as a weighted sum of printed cells."""

    table: str
    column: str
    rows: dict[str, float]


class PlaceForm(Form):
    """Where a claim is tried."""

    study: str
    metric: str
    cells: dict[str, float]
    transform: Literal["distance_from_one"] | None = None
    column: str | None = None

    @model_validator(mode="after")
    def _a_sum(self) -> Self:
        if not any(self.cells.values()):
            raise ValueError("cells must have one whose weight is not 0")
        return self


class ClaimForm(Form):
    """An inequality."""

    says: str
    printed: EffectForm | None = None
    effect: float | None = None
    unit: float | None = Field(default=None, gt=0)
    why: str = ""
    above: float
    at: dict[Scaled, list[PlaceForm]]

    @model_validator(mode="after")
    def _a_size(self) -> Self:
        if self.printed is None and (self.unit is None or "effect" not in self.model_fields_set):
            raise ValueError("printed is missing, or effect (null where none was read) and unit")
        return self


class BesideForm(Form):
    """Our cells beside a printed column."""

    study: str
    table: str
    column: str
    metric: str
    rows: dict[str, str]


class ScaleForm(Form):
    """What is run."""

    studies: list[str] = Field(min_length=1)
    comparable: bool
    differs: str


class EntryForm(Form):
    """A whole file."""

    title: str
    citation: str
    url: str
    read: Literal["paper", "secondary", "unread"]
    sources: list[str] = []
    tables: dict[str, TableForm]
    errata: list[str] = []
    counts: list[CountForm] = []
    claims: dict[str, ClaimForm]
    ours: dict[Scaled, list[BesideForm]]
    scales: dict[Scaled, ScaleForm] = Field(min_length=1)

    @model_validator(mode="after")
    def _what_is_named_is_there(self) -> Self:
        for name, claim in self.claims.items():
            if claim.printed is not None:
                self._in_its_table(f"claims.{name}.printed", claim.printed)
            for scale, places in claim.at.items():
                for n, place in enumerate(places):
                    self._is_run(f"claims.{name}.at.{scale}[{n}].study", place.study, scale)
                    if place.column is not None:
                        there = self.tables[claim.printed.table].columns if claim.printed is not None else []
                        _one_of(f"claims.{name}.at.{scale}[{n}].column", place.column, there)
        for scale, besides in self.ours.items():
            for n, beside in enumerate(besides):
                self._in_its_table(f"ours.{scale}[{n}]", beside)
                self._is_run(f"ours.{scale}[{n}].study", beside.study, scale)
        return self

    def _in_its_table(self, where: str, named: EffectForm | BesideForm) -> None:
        _one_of(f"{where}.table", named.table, self.tables)
        table = self.tables[named.table]
        _one_of(f"{where}.column", named.column, table.columns)
        for row in named.rows:
            _one_of(f"{where}.rows", row, table.rows)

    def _is_run(self, where: str, study: str, scale: Scaled) -> None:
        _one_of(where, study, self.scales[scale].studies if scale in self.scales else ())


def read_form(node: Any) -> EntryForm:
    """An entry's file, checked.

    Raises:
        ValueError: naming the first key that breaks a rule, its value, the rule, and how many more there are.
    """
    try:
        return EntryForm.model_validate(node)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ValueError(_in_words(found[0]) + more) from None


def _in_words(fault: Mapping[str, Any]) -> str:
    where = "".join(_place(part) for part in fault["loc"]).removeprefix(".")
    told = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{where}: {told}" if where else told
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{where} is no key of an entry"
    value = " ".join(repr(fault["input"]).split())
    shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
    return f"{where}={shown}: {told[:1].lower()}{told[1:]}"


def _place(part: str | int) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


def _one_of(where: str, name: str, there: Iterator[str] | Any) -> None:
    """Raises ValueError where a name is none of those that are there."""
    if name not in there:
        near = get_close_matches(name, list(there), 1)
        hint = f", nearest: {near[0]}" if near else ""
        raise ValueError(f"{where}={name!r} is none of {', '.join(there) or 'none'}{hint}")
