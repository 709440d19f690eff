"""A paper's tables beside ours and the verdicts on its claims, in Markdown; and one page over all papers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from funneltune.reporting.papers.entry import Beside, Printed
from funneltune.reporting.papers.verdicts import (
    MISSED,
    NOT_RUN,
    REPRODUCED,
    UNDECIDED,
    AtPlace,
    OnClaim,
    OnPaper,
    Shelf,
)

LITERATURE = "# What of the literature holds"
OTHER_PROTOCOL = "other protocol"
HOW_READ = {
    "paper": "numbers read in the paper's own tables",
    "secondary": "numbers read where others quote them",
    "unread": "its tables were not read",
}
MEANING = (
    "**reproduced**: it holds beyond chance at every place. **contradicted**: at one place at least the contrary holds "
    "beyond chance. **missed**: an effect as large as the paper's would have been found (in four cases of five) and "
    "was not. **undecided**: the noise is larger than the claim, or the metric varies over seeds alone here, or there "
    "is one seed. **not run**: no finished runs, or no study that could try it. A claim is what its worst place is, a "
    "paper what its worst claim is: contradicted, else missed, and reproduced only where all that was tried is. "
    "Intervals are 95%, over test requests and seeds; p-values are Holm-corrected over all places of a paper at one "
    "scale, and *detectable* is what this design would have found at the corrected level."
)


@dataclass(frozen=True)
class Counted:
    """A quantity that a paper prints, beside what its setting computes to."""

    of: str
    what: str
    printed: float
    ours: float
    within: float
    explained: str

    @property
    def status(self) -> str:
        """Equal within the rounding of what is printed, or not."""
        if abs(self.ours - self.printed) <= self.within:
            return "equal"
        return "differs, explained" if self.explained else "differs"


def paper_page(found: OnPaper, shelf: Shelf, counts: Sequence[Counted] = (), level: int = 1) -> str:
    """All that is known of a paper at one scale."""
    paper, scale = found.paper, found.paper.scales[found.scale]
    head = "#" * level
    lines = [
        f"{head} {paper.name}, scale {found.scale}: {found.status}",
        "",
        f"{paper.title} ({paper.citation}), <{paper.url}>; {HOW_READ[paper.read]}.",
        "",
        f"Scale `{found.scale}`: {scale.differs}. Studies: {', '.join(f'`{name}`' for name in scale.studies)}.".replace(
            "..", "."
        ),
        "",
        *_made_small(shelf.debugged(scale.studies)),
        f"{head}# Claims",
        "",
        *_claims(found.claims),
        "",
    ]
    for table in paper.tables.values():
        besides = [one for one in paper.ours[found.scale] if one.table == table.name]
        lines += [
            f"{head}# {table.title}",
            "",
            *_protocol(table),
            "",
            *_beside(table, besides, scale.comparable, shelf),
            "",
        ]
    if counts:
        lines += [f"{head}# Sizes and costs, from configs without weights", "", *_counts(counts), ""]
    if paper.errata:
        lines += [f"{head}# Errata", "", *(f"- {one}" for one in paper.errata), ""]
    return "\n".join(lines).rstrip() + "\n"


def _made_small(studies: Sequence[str]) -> list[str]:
    return [f"**Made with debug=, no evidence: {', '.join(studies)}.**", ""] if studies else []


def literature_page(found: Sequence[OnPaper], counts: Mapping[str, Sequence[Counted]] | None = None) -> str:
    """What of the literature holds, at which scale, on which data."""
    lines = [
        LITERATURE,
        "",
        "Generated from the registry of papers (`configs/paper`) and the records of our studies by "
        "`funneltune reproduce --list output=experiments/literature`; no status is typed.",
        "",
        MEANING,
        "",
        "| paper | scale | status | claims | data |",
        "|---|---|---|---|---|",
    ]
    for one in found:
        counted = ", ".join(f"{n} {status}" for status, n in one.counted.items()) or "none"
        studies = ", ".join(one.paper.scales[one.scale].studies)
        lines.append(
            f"| [{one.paper.name}]({one.paper.name}.md) | {one.scale} | **{one.status}** | {counted} | {studies} |"
        )
    for one in found:
        if one.status == NOT_RUN:
            continue
        scale = one.paper.scales[one.scale]
        lines += ["", f"## {one.paper.name}, {one.scale}", "", f"{scale.differs}.".replace("..", "."), ""]
        lines += _claims(one.claims)
    if counts:
        every = [c for several in counts.values() for c in several]
        equal = sum(c.status == "equal" for c in every)
        lines += [
            "",
            "## Sizes and costs of the papers' settings",
            "",
            f"{equal} of {len(every)} printed parameter counts and FLOPs are equal within their rounding; the others, "
            "with the reason:",
            "",
        ]
        lines += _counts([c for c in every if c.status != "equal"])
    return "\n".join(lines).rstrip() + "\n"


def listing(found: Sequence[OnPaper]) -> list[tuple[str, str, str, str]]:
    """Rows of `funneltune reproduce --list`: paper, scale, status, claims."""
    return [
        (one.paper.name, one.scale, one.status, ", ".join(f"{n} {s}" for s, n in one.counted.items())) for one in found
    ]


def plain(found: Sequence[OnPaper]) -> list[dict[str, Any]]:
    """The verdicts as JSON holds them."""
    return [
        {
            "paper": one.paper.name,
            "scale": one.scale,
            "status": one.status,
            "claims": [
                {
                    "claim": on.claim.name,
                    "says": on.claim.says,
                    "effect": on.claim.effect,
                    "above": on.claim.above,
                    "status": on.status,
                    "places": [_plain_place(place) for place in on.places],
                }
                for on in one.claims
            ],
        }
        for one in found
    ]


def rows(found: Sequence[OnPaper]) -> list[dict[str, Any]]:
    """The verdicts as a table's rows: `status` is the claim's, `verdict` that of one place where it is tried. A claim
    that no study tries has one row.
    """
    lines = []
    for one in plain(found):
        for on in one["claims"]:
            claim = {"claim": on["claim"], **{key: on[key] for key in ("says", "effect", "above", "status")}}
            for place in on["places"] or [{"status": on["status"]}]:
                at = {"verdict" if key == "status" else key: value for key, value in place.items()}
                lines.append({"paper": one["paper"], "scale": one["scale"], **claim, **at})
    return lines


def _plain_place(at: AtPlace) -> dict[str, Any]:
    numbers = ("status", "estimate", "low", "high", "p_value", "p_holm", "detectable", "seeds", "note")
    return {
        "study": at.place.study,
        "metric": at.place.metric,
        "cells": dict(at.place.cells),
        "printed": at.place.effect,
        **{name: getattr(at, name) for name in numbers},
    }


def _claims(claims: Sequence[OnClaim]) -> list[str]:
    lines = ["| claim | paper | where | ours [95%] | p (Holm) | detectable | verdict |", "|---" * 7 + "|"]
    for one in claims:
        claim = one.claim
        threshold = f" (above {claim.above:+.4g})" if claim.above else ""
        printed = "not printed" if claim.effect is None else f"{claim.effect:+.4g}"
        printed += f" ({claim.column})" if claim.column and claim.effect is not None else ""
        tried = sum(place.status != NOT_RUN for place in one.places)
        part = f", {tried} of {len(one.places)} places" if 0 < tried < len(one.places) else ""
        lines.append(
            f"| {claim.says}{threshold} | {printed} | {'' if one.places else 'no study'} | | | | "
            f"**{one.status}**{part} |"
        )
        lines += [_place_row(at) for at in one.places]
    return lines


def _place_row(at: AtPlace) -> str:
    where = f"`{at.place.study}` {at.place.metric}: {_sum(at.place.cells)}"
    if at.place.off_one:
        where += ", distance from 1"
    column, effect = at.place.column, at.place.effect
    printed = "" if not column else f"{'-' if effect is None else f'{effect:+.4g}'} ({column})"
    if at.estimate is None:
        return f"| | {printed} | {where} | - | - | - | {at.status}: {at.note} |"
    ours = f"{at.estimate:+.4f}"
    if at.low is not None:
        ours += f" [{at.low:+.4f}, {at.high:+.4f}]"
    reach = "-" if at.detectable is None else f"{at.detectable:.4f}"
    chance = "-" if at.p_holm is None else f"{at.p_holm:.2g}"
    return f"| | {printed} | {where} | {ours} | {chance} | {reach} | {at.status}{f' ({at.note})' if at.note else ''} |"


def _sum(cells: Mapping[str, float]) -> str:
    """`adalora - lora`, what all cells share left out."""
    names = [cell.split(",") for cell in cells]
    common = set.intersection(*(set(parts) for parts in names)) if len(names) > 1 else set()
    shown = []
    for parts, weight in zip(names, cells.values(), strict=True):
        name = " ".join(part.partition("=")[2] or part for part in parts if part not in common)
        size = "" if abs(weight) == 1 else f"{abs(weight):g} "
        shown.append(f"{'-' if weight < 0 else '+'} {size}{name}")
    text = " ".join(shown).removeprefix("+ ")
    return text + (f" ({', '.join(sorted(common))})" if common else "")


def _protocol(table: Printed) -> Iterator[str]:
    told = "; ".join(f"{key}: {value}" for key, value in table.protocol.items())
    yield f"Printed under: {told}. Numbers as printed (unit {table.unit:g}); tolerance {table.tolerance:g}."


def _beside(table: Printed, besides: Sequence[Beside], comparable: bool, shelf: Shelf) -> Iterator[str]:
    """Printed / ours and whether that is the printed number again, cell by cell."""
    ours = {(row, one.column): (one, cell) for one in besides for row, cell in one.rows.items()}
    yield "| |" + "|".join(f" {column} " for column in table.columns) + "|"
    yield "|---|" + "---|" * len(table.columns)
    for row in table.rows:
        texts = [_cell(table, row, column, ours.get((row, column)), comparable, shelf) for column in table.columns]
        yield f"| {row} | " + " | ".join(texts) + " |"


def _cell(
    table: Printed, row: str, column: str, ours: tuple[Beside, str] | None, comparable: bool, shelf: Shelf
) -> str:
    printed = table.value(row, column)
    spread = table.spreads.get(row, (None,) * len(table.columns))[table.columns.index(column)]
    text = "-" if printed is None else f"{printed:g}" + (f" ±{spread:g}" if spread is not None else "")
    if ours is None:
        return text
    values = _values(ours[0], ours[1], shelf)
    if not values:
        return f"{text} / {NOT_RUN}"
    mean = float(np.mean(values)) / table.unit
    own = f"{mean:.2f}" if table.unit < 1 else f"{mean:.4f}"
    if len(values) > 1:
        deviation = float(np.std(values, ddof=1)) / table.unit
        own += f" ±{deviation:.2f}" if table.unit < 1 else f" ±{deviation:.4f}"
    return f"{text} / {own} {number_status(printed, mean, table.tolerance, comparable)}"


def number_status(printed: float | None, ours: float, tolerance: float, comparable: bool) -> str:
    """Whether ours is the printed number again; numbers of another protocol are not held against it."""
    if printed is None:
        return UNDECIDED
    if not comparable:
        return OTHER_PROTOCOL
    return REPRODUCED if abs(ours - printed) <= tolerance else MISSED


def _values(beside: Beside, cell: str, shelf: Shelf) -> list[float]:
    found = [run.record.value(beside.metric) for run in shelf.runs(beside.study, cell).values()]
    return [value for value in found if value is not None]


def _counts(counts: Sequence[Counted]) -> list[str]:
    lines = ["| of | what | printed | ours | | |", "|---|---|---|---|---|---|"]
    for one in counts:
        shares = one.what.startswith("share")
        printed, ours = (
            f"{100 * v:.2f}%" if shares else f"{v:,.4g}" if v > 1e8 else f"{v:,.0f}" for v in (one.printed, one.ours)
        )
        lines.append(
            f"| {one.of} | {one.what} | {printed} | {ours} | {one.status} | {' '.join(one.explained.split())} |"
        )
    return lines
