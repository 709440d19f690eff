"""A paper as the registry holds it: its tables under their protocols, its claims as inequalities, where each is tried.

configs/paper/adalora2023.yaml explains every key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from funneltune.errors import ConfigError
from funneltune.reporting.papers.form import (
    DISTANCE,
    ClaimForm,
    CountForm,
    EntryForm,
    Scaled,
    TableForm,
    read_form,
)

SCALES: tuple[Scaled, ...] = ("small", "full")


@dataclass(frozen=True)
class Printed:
    """A table of the paper."""

    name: str
    title: str
    protocol: Mapping[str, Any]
    """Under which its numbers hold: data, split, metric, rows, selection, seeds."""
    unit: float
    """One printed unit, in the units of our metrics."""
    tolerance: float
    """In printed units: how far ours may lie off and still count as reproduced."""
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]
    spreads: Mapping[str, tuple[float | None, ...]]

    def value(self, row: str, column: str) -> float | None:
        """A printed number; None where it was not read."""
        return self.rows[row][self.columns.index(column)]


@dataclass(frozen=True)
class Place:
    """Where a claim is tried: a weighted sum of our cells' values of one metric."""

    study: str
    metric: str
    cells: Mapping[str, float]
    off_one: bool = False
    effect: float | None = None
    """The paper's own size of the claim here, in our metrics' units; None where it prints none that was read."""
    column: str = ""
    """Of the printed table, where it is another than the claim's."""


@dataclass(frozen=True)
class Claim:
    """An inequality: the sum lies above the threshold, at every place."""

    name: str
    says: str
    effect: float | None
    """The paper's own size of it, in our metrics' units; None where it prints none that was read."""
    column: str
    """Of the printed table, where the size comes from one."""
    above: float
    """The threshold, in our metrics' units."""
    at: Mapping[str, tuple[Place, ...]]
    """By scale."""
    why: str = ""


@dataclass(frozen=True)
class Beside:
    """Our cells beside a column of a printed table."""

    study: str
    table: str
    column: str
    metric: str
    rows: Mapping[str, str]
    """Printed row -> our cell."""


@dataclass(frozen=True)
class Scale:
    """What is run."""

    studies: tuple[str, ...]
    comparable: bool
    """Whether numbers, and not only claims, may be held against the printed ones."""
    differs: str


@dataclass(frozen=True)
class Paper:
    """One entry of the registry."""

    name: str
    title: str
    citation: str
    url: str
    read: str
    sources: tuple[str, ...]
    tables: Mapping[str, Printed]
    errata: tuple[str, ...]
    counts: tuple[CountForm, ...]
    claims: tuple[Claim, ...]
    ours: Mapping[str, tuple[Beside, ...]]
    scales: Mapping[str, Scale]

    @classmethod
    def from_file(cls, path: Path) -> Paper:
        """Read an entry.

        Raises:
            ConfigError: naming file and key where it is none.
        """
        try:
            node = OmegaConf.to_container(OmegaConf.load(path))
        except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
            raise ConfigError(f"{path} cannot be read ({' '.join(str(error).split())}); mend the file.") from None
        if not isinstance(node, Mapping):
            raise ConfigError(f"{path} holds {type(node).__name__}, but an entry is a mapping; see its neighbours.")
        try:
            return cls._from_form(path.stem, read_form(node))
        except ValueError as error:
            raise ConfigError(f"{path}: {error}; adalora2023.yaml explains the keys.") from None

    @classmethod
    def _from_form(cls, name: str, form: EntryForm) -> Paper:
        tables = {key: _table(key, one) for key, one in form.tables.items()}
        return cls(
            name=name,
            title=form.title,
            citation=form.citation,
            url=form.url,
            read=form.read,
            sources=tuple(form.sources),
            tables=tables,
            errata=tuple(" ".join(one.split()) for one in form.errata),
            counts=tuple(form.counts),
            claims=tuple(_claim(key, one, tables) for key, one in form.claims.items()),
            ours={scale: tuple(Beside(**one.model_dump()) for one in form.ours.get(scale, [])) for scale in SCALES},
            scales={
                key: Scale(tuple(one.studies), one.comparable, " ".join(one.differs.split()))
                for key, one in form.scales.items()
            },
        )

    def studies(self, scale: str) -> tuple[str, ...]:
        """The studies of a scale, in their order.

        Raises:
            ConfigError: if the entry has no such scale.
        """
        if scale not in self.scales:
            raise ConfigError(f"scale={scale} must be one of {', '.join(self.scales)}.")
        return self.scales[scale].studies


def _table(name: str, form: TableForm) -> Printed:
    return Printed(
        name=name,
        title=form.title,
        protocol=form.protocol,
        unit=form.unit,
        tolerance=form.tolerance,
        columns=tuple(form.columns),
        rows={row: tuple(values) for row, values in form.rows.items()},
        spreads={row: tuple(values) for row, values in form.spreads.items()},
    )


def _claim(name: str, form: ClaimForm, tables: Mapping[str, Printed]) -> Claim:
    printed = form.printed
    unit = tables[printed.table].unit if printed is not None else form.unit or 1.0

    def effect(column: str | None) -> float | None:
        if printed is None:
            return None if form.effect is None else form.effect * unit
        table = tables[printed.table]
        parts = [(weight, table.value(row, column or printed.column)) for row, weight in printed.rows.items()]
        known = [weight * value for weight, value in parts if value is not None]
        return sum(known) * unit if len(known) == len(parts) else None

    return Claim(
        name=name,
        says=" ".join(form.says.split()),
        effect=effect(None),
        column=printed.column if printed is not None else "",
        above=form.above * unit,
        at={
            scale: tuple(
                Place(
                    study=one.study,
                    metric=one.metric,
                    cells=one.cells,
                    off_one=one.transform == DISTANCE,
                    effect=effect(one.column),
                    column=one.column or "",
                )
                for one in form.at.get(scale, [])
            )
            for scale in SCALES
        },
        why=" ".join(form.why.split()),
    )
