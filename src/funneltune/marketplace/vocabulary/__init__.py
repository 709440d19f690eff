"""The words of the world, read from plain tables: product types, attributes, groups, occasions, brands.

Each table is a `|`-separated file in this folder; lists within a cell are separated by `;` (phrases) or blanks (names).
The nouns of titles and the nouns of queries are kept apart on purpose: "Loveseat" is sold, "small couch" is asked for.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import ConfigError

DIMENSIONS = ("material", "colour", "style", "size", "feature")
DOMAINS = ("home", "fashion", "electronics", "outdoor")
LANGUAGES = {"en": DOMAINS, "zh": ("home", "fashion", "electronics")}
"""Domains by language. The Chinese tables are a marketplace of their own, not a translation."""
# How far a stated attribute of another value speaks against an item; features do not exclude one another.
_CONFLICT = {"material": -0.35, "colour": -0.5, "style": -0.25, "size": -0.5, "feature": 0.0}
_NEAR = 0.55
_SAME_CATEGORY = 0.12


@dataclass(frozen=True)
class ProductType:
    """One kind of product: how sellers title it and what shoppers call it, or need it for."""

    name: str
    domain: str
    group: str
    palette: str
    price: float
    season: int  # month (1-12) of its peak; 0 where it has none
    titles: tuple[str, ...]
    nouns: tuple[str, ...]
    uses: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Types that can stand in for one another to the extent `kinship`; `phrases` are its hypernyms."""

    name: str
    domain: str
    category: str
    kinship: float
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class Attribute:
    """One property: its words in titles, its different words in queries, and the attributes close to it."""

    name: str
    dimension: str
    titles: tuple[str, ...]
    queries: tuple[str, ...]
    near: tuple[str, ...]


@dataclass(frozen=True)
class Occasion:
    """A situation and the types that serve it."""

    phrases: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """All words of the chosen domains. A query's *target* is a type, a group or an occasion, numbered in that order."""

    types: tuple[ProductType, ...]
    groups: tuple[Group, ...]
    attributes: tuple[Attribute, ...]
    occasions: tuple[Occasion, ...]
    palettes: dict[str, dict[str, tuple[int, ...]]]  # palette -> dimension -> attribute numbers
    brands: tuple[tuple[str, str], ...]  # (domain, brand)
    language: str = "en"

    @cached_property
    def type_group(self) -> NDArray[np.int16]:
        """Group number of each type."""
        number = {group.name: index for index, group in enumerate(self.groups)}
        return np.array([number[kind.group] for kind in self.types], dtype=np.int16)

    @cached_property
    def attribute_number(self) -> dict[str, int]:
        """Number of each attribute by name."""
        return {attribute.name: index for index, attribute in enumerate(self.attributes)}

    @cached_property
    def likeness(self) -> NDArray[np.float32]:
        """(attributes + 1, attributes + 1): how an asked attribute (row) is served by a stated one (column).

        1 for the same, .55 for a near one, negative for another value of an exclusive dimension, else 0. The last row
        and column stand for "none", so that -1 indexes them.
        """
        count = len(self.attributes)
        table = np.zeros((count + 1, count + 1), dtype=np.float32)
        dimension = np.array([attribute.dimension for attribute in self.attributes])
        for row, attribute in enumerate(self.attributes):
            table[row, :count][dimension == attribute.dimension] = _CONFLICT[attribute.dimension]
            table[row, row] = 1.0
        for row, attribute in enumerate(self.attributes):
            for name in attribute.near:
                other = self.attribute_number[name]
                table[row, other] = table[other, row] = _NEAR
        return table

    @cached_property
    def match(self) -> NDArray[np.float32]:
        """(targets, types): how far a type is what a target asks for; 1 for the type itself."""
        groups, kinds = len(self.groups), len(self.types)
        category = np.unique([group.category for group in self.groups], return_inverse=True)[1]
        kinship = np.array([group.kinship for group in self.groups], dtype=np.float32)
        own = self.type_group
        same_group = own[:, None] == own[None, :]
        same_category = category[own][:, None] == category[own][None, :]
        types = np.where(same_group, kinship[own][None, :], np.where(same_category, _SAME_CATEGORY, 0.0))
        np.fill_diagonal(types, 1.0)
        whole = np.where(
            own[None, :] == np.arange(groups)[:, None],
            0.9,
            np.where(category[own][None, :] == category[:, None], 0.2, 0.0),
        )
        situations = np.zeros((len(self.occasions), kinds))
        number = {kind.name: index for index, kind in enumerate(self.types)}
        for row, occasion in enumerate(self.occasions):
            served = [number[name] for name in occasion.types]
            situations[row, np.isin(own, own[served])] = 0.2
            situations[row, served] = 0.9
        return np.concatenate([types, whole, situations]).astype(np.float32)

    @cached_property
    def season(self) -> NDArray[np.float32]:
        """Day of the year (0-365) of each type's peak; NaN where it has none."""
        month = np.array([kind.season for kind in self.types], dtype=np.float32)
        return np.where(month > 0, (month - 0.5) * np.float32(365 / 12), np.nan).astype(np.float32)


def load_vocabulary(domains: Sequence[str] = DOMAINS, language: str = "en") -> Vocabulary:
    """The vocabulary of some domains in a language; refuses an unknown one and names the nearest."""
    if language not in LANGUAGES:
        raise ConfigError(f"data.source.language={language!r} must be one of {', '.join(LANGUAGES)}.")
    known_domains = LANGUAGES[language]
    for domain in domains:
        if domain not in known_domains:
            near = difflib.get_close_matches(str(domain), known_domains, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"domains: {domain!r} is unknown; did you mean {near!r}? (there are {', '.join(known_domains)})"
            )
    types = tuple(kind for domain in known_domains if domain in domains for kind in _types(domain, language))
    known = {kind.name for kind in types}
    groups = tuple(
        Group(row["group"], row["domain"], row["category"], float(row["kinship"]), _phrases(row["query words"]))
        for row in _rows("groups", language)
        if row["group"] in {kind.group for kind in types}
    )
    attributes = tuple(
        Attribute(
            name=row["attribute"],
            dimension=row["dimension"],
            titles=_phrases(row["title words"]),
            queries=_phrases(row["query words"]),
            near=tuple(row["near"].split()),
        )
        for row in _rows("attributes", language)
    )
    occasions = tuple(
        Occasion(_phrases(row["query words"]), served)
        for row in _rows("occasions", language)
        # An occasion of another domain keeps at most a stray type or two here: not enough to serve it.
        if len(served := tuple(name for name in row["types"].split() if name in known)) >= 3
    )
    brands = tuple(
        (row["domain"], brand)
        for row in _rows("brands", language)
        if row["domain"] in domains
        for brand in _phrases(row["brands"])
    )
    return Vocabulary(types, groups, attributes, occasions, _palettes(attributes, language), brands, language)


def _types(domain: str, language: str) -> Iterator[ProductType]:
    for row in _rows(domain, language):
        yield ProductType(
            name=row["type"],
            domain=domain,
            group=row["group"],
            palette=row["palette"],
            price=float(row["price"]),
            season=int(row["season"] or 0),
            titles=_phrases(row["title nouns"]),
            nouns=_phrases(row["query nouns"]),
            uses=_phrases(row["uses"]),
        )


def _palettes(attributes: Sequence[Attribute], language: str) -> dict[str, dict[str, tuple[int, ...]]]:
    number = {attribute.name: index for index, attribute in enumerate(attributes)}
    colours = tuple(number[a.name] for a in attributes if a.dimension == "colour")
    return {
        row["palette"]: {
            dimension: colours if row[dimension] == "all" else tuple(number[name] for name in row[dimension].split())
            for dimension in DIMENSIONS
        }
        for row in _rows("palettes", language)
    }


def _rows(table: str, language: str) -> list[dict[str, str]]:
    folder = resources.files(__package__)
    if language != "en":
        folder = folder.joinpath(language)
    text = folder.joinpath(f"{table}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="|"))


def _phrases(cell: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in cell.split(";") if phrase.strip())
