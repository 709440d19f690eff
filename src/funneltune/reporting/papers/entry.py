"""A paper as the registry holds it: its tables under their protocols, its claims as inequalities, where each is tried.

configs/paper/adalora2023.yaml explains every key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from funneltune.errors import ConfigError

SCALES = ("small", "full")
READ = ("paper", "secondary", "unread")
NEEDED = ("title", "citation", "url", "read", "tables", "claims", "ours", "scales")
DISTANCE = "distance_from_one"


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


@dataclass(frozen=True)
class Claim:
    """An inequality: the sum lies above the threshold, at every place."""

    name: str
    says: str
    effect: float | None
    """The paper's own size of it, in our metrics' units; None where it prints none that was read."""
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
    counts: tuple[Mapping[str, Any], ...]
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
            node = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path} cannot be read ({' '.join(str(error).split())}); mend the file.") from None
        if not isinstance(node, Mapping):
            raise ConfigError(f"{path} holds {type(node).__name__}, but an entry is a mapping; see its neighbours.")
        missing = [key for key in NEEDED if key not in node]
        if missing:
            raise ConfigError(f"{path} lacks {', '.join(missing)}; adalora2023.yaml explains the keys.")
        if node["read"] not in READ:
            raise ConfigError(f"{path}: read={node['read']!r} must be one of {', '.join(READ)}.")
        try:
            return cls._from_node(path.stem, node)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{path}: {_told(error)}; adalora2023.yaml explains the keys.") from None

    @classmethod
    def _from_node(cls, name: str, node: Mapping[str, Any]) -> Paper:
        tables = {str(key): _table(str(key), one) for key, one in node["tables"].items()}
        return cls(
            name=name,
            title=str(node["title"]),
            citation=str(node["citation"]),
            url=str(node["url"]),
            read=str(node["read"]),
            sources=tuple(node.get("sources") or ()),
            tables=tables,
            errata=tuple(" ".join(str(one).split()) for one in node.get("errata") or ()),
            counts=tuple(node.get("counts") or ()),
            claims=tuple(_claim(str(key), one, tables) for key, one in node["claims"].items()),
            ours={scale: tuple(_besides(node["ours"].get(scale) or (), tables)) for scale in SCALES},
            scales={str(key): _scale(one) for key, one in node["scales"].items()},
        )

    def studies(self, scale: str) -> tuple[str, ...]:
        """The studies of a scale, in their order.

        Raises:
            ConfigError: if the entry has no such scale.
        """
        if scale not in self.scales:
            raise ConfigError(f"scale={scale} must be one of {', '.join(self.scales)}.")
        return self.scales[scale].studies


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _table(name: str, node: Mapping[str, Any]) -> Printed:
    columns = tuple(str(column) for column in node["columns"])
    rows = {str(row): tuple(values) for row, values in node["rows"].items()}
    spreads = {str(row): tuple(values) for row, values in (node.get("spreads") or {}).items()}
    for row, values in (*rows.items(), *spreads.items()):
        if len(values) != len(columns):
            raise ValueError(f"tables.{name}.rows.{row} has {len(values)} numbers for {len(columns)} columns")
    return Printed(
        name=name,
        title=str(node["title"]),
        protocol=dict(node["protocol"]),
        unit=float(node["unit"]),
        tolerance=float(node["tolerance"]),
        columns=columns,
        rows=rows,
        spreads=spreads,
    )


def _claim(name: str, node: Mapping[str, Any], tables: Mapping[str, Printed]) -> Claim:
    printed = node.get("printed")
    if printed is not None:
        table = tables[printed["table"]]
        unit = table.unit
        parts = [(float(w), table.value(str(row), str(printed["column"]))) for row, w in printed["rows"].items()]
        known = [weight * value for weight, value in parts if value is not None]
        effect = sum(known) * unit if len(known) == len(parts) else None
    else:
        unit = float(node["unit"])
        effect = None if node["effect"] is None else float(node["effect"]) * unit
    return Claim(
        name=name,
        says=" ".join(str(node["says"]).split()),
        effect=effect,
        above=float(node["above"]) * unit,
        at={scale: tuple(_place(one) for one in node["at"].get(scale) or ()) for scale in SCALES},
        why=" ".join(str(node.get("why") or "").split()),
    )


def _place(node: Mapping[str, Any]) -> Place:
    transform = node.get("transform")
    if transform not in (None, DISTANCE):
        raise ValueError(f"transform={transform!r} must be {DISTANCE}, or absent")
    cells = {str(cell): float(weight) for cell, weight in node["cells"].items()}
    return Place(str(node["study"]), str(node["metric"]), cells, transform == DISTANCE)


def _besides(nodes: Any, tables: Mapping[str, Printed]) -> Iterator[Beside]:
    for node in nodes:
        rows = {str(row): str(cell) for row, cell in node["rows"].items()}
        table = tables[node["table"]]
        for row in rows:
            table.value(row, str(node["column"]))  # is there
        yield Beside(str(node["study"]), str(node["table"]), str(node["column"]), str(node["metric"]), rows)


def _scale(node: Mapping[str, Any]) -> Scale:
    return Scale(tuple(node["studies"]), bool(node["comparable"]), " ".join(str(node["differs"]).split()))
