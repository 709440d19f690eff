"""Fields of requests, and the rules that they keep: no unknown name, no number as text, nothing endless."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from funneltune.serving.limits import CHOICES, COLUMNS, ITEMS, LETTERS, PINS, TOP

WORD, SHARES = "<word>", "<shares>"
KINDS = {WORD, SHARES}
"""Parts of a fault's place that name a kind of value, not a field."""


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


def _listed(value: Any) -> Any:
    """One column needs no brackets."""
    return [value] if isinstance(value, str) else value


def _placed(value: Any) -> Any:
    """Items without places have the first ones."""
    return {str(place): item for place, item in enumerate(value, start=1)} if isinstance(value, list) else value


def _not_file(name: str) -> str:
    if name.lower().endswith((".csv", ".parquet")):
        raise ValueError("must be a column of the items; files are the server's own")
    return name


Plain = Annotated[str, Field(max_length=LETTERS), AfterValidator(plain)]
Key = Annotated[str, Field(min_length=1, max_length=LETTERS), AfterValidator(plain)]
Price = Annotated[float, Field(ge=0, le=1e12)]
Time = Annotated[float, Field(ge=0, le=1e11)]
Factor = Annotated[float, Field(ge=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Most = Annotated[int, Field(ge=1, le=TOP)]
Values = Annotated[
    dict[Key, Annotated[list[Plain], Field(min_length=1, max_length=CHOICES)]], Field(max_length=COLUMNS)
]
Place = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,2}$")]


class Body(BaseModel):
    """A request's body, or a part of it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class DiversityFields(Body):
    """Maximal marginal relevance: items unlike what stands above them rise."""

    weight: Share = Field(default=0.7, description="How much value counts beside it; 1: value alone.")
    by: Annotated[list[Key], Field(min_length=1, max_length=COLUMNS), BeforeValidator(_listed)] = Field(
        default=["vectors"], description="`vectors` (the run's item vectors), or columns of the items."
    )
    pool: int = Field(default=50, ge=1, le=ITEMS, description="Only the best so many by value may rise.")

    def settings(self) -> dict[str, Any]:
        """What was said, as a ranking's settings have it."""
        told = self.model_dump(exclude_unset=True)
        return {**told, "by": told["by"][0]} if len(told.get("by", ())) == 1 else told


class RulesFields(Body):
    """Rules of the shop."""

    stock: Annotated[Key, AfterValidator(_not_file)] | None = Field(
        default=None, description="A column of the items; what has none is dropped."
    )
    price: Annotated[list[Price | None], Field(min_length=2, max_length=2)] = Field(
        default=[None, None], description="Lowest and highest shown; null: none."
    )
    only: Values = Field(default={}, description="Column -> values that are shown, as {'brand': ['Quill']}.")
    without: Values = Field(default={}, description="Column -> values that are not shown.")
    boost: Annotated[
        dict[Key, Annotated[dict[Plain, Factor], Field(min_length=1, max_length=CHOICES)]], Field(max_length=COLUMNS)
    ] = Field(default={}, description="Column -> value -> factor of its items' value: above 1 boosts, below 1 buries.")
    at_most: Annotated[dict[Key, Most], Field(max_length=COLUMNS)] = Field(
        default={}, description="Column -> most items of a value."
    )
    pinned: Annotated[dict[Place, Key], Field(max_length=PINS), BeforeValidator(_placed)] = Field(
        default={}, description="Place -> item, or a list of items for the first places."
    )

    def settings(self) -> dict[str, Any]:
        """What was said, as a ranking's settings have it."""
        told = self.model_dump(exclude_unset=True)
        if "pinned" in told:
            told["pinned"] = {int(place): item for place, item in told["pinned"].items()}
        return told


class ExposureFields(Body):
    """Places for each group near what it is due (DetGreedy)."""

    column: Key = Field(description="The items' column whose values share the list, as seller.")
    target: Annotated[
        Annotated[Literal["catalogue", "merit"], Tag(WORD)]
        | Annotated[dict[Plain, Share], Field(min_length=1, max_length=CHOICES), Tag(SHARES)],
        Discriminator(lambda value: SHARES if isinstance(value, Mapping) else WORD),
    ] = Field(default="catalogue", description="Shares of the items, of the candidates' value, or group -> share.")

    def settings(self) -> dict[str, Any]:
        """What was said, as a ranking's settings have it."""
        return self.model_dump(exclude_unset=True)
