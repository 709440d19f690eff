"""What a sentiment study came to, as numbers, tables, notes, files and a picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from funneltune.decisions.sentiment.picture import picture
from funneltune.decisions.sentiment.reviews import Reader, Said
from funneltune.decisions.sentiment.study import MEASURES, RUN, Grouped, Measured, Studied
from funneltune.decisions.sentiment.words import Push
from funneltune.records import DecisionRecord
from funneltune.runs.identity import git_commit, versions

PICTURE, REVIEWS, GROUPS = "sentiment.png", "reviews.csv", "groups.csv"
APART = 0.3
"""Stars between what is predicted of a group and what was given, from which a note says so."""


def record_of(studied: Studied, run: str) -> DecisionRecord:
    """Everything but the files."""
    return DecisionRecord(
        verb="sentiment",
        run=run,
        settings=dataclasses.asdict(studied.settings),
        numbers=_numbers(studied),
        tables={"readers": _readers(studied), "differences": _differences(studied), **groups_of(studied)},
        figures=[PICTURE],
        notes=_notes(studied),
        git_commit=git_commit(),
        versions=versions(),
    )


def write(record: DecisionRecord, studied: Studied, folder: Path) -> None:
    """The record, the picture, a row per review and a row per group."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(studied).savefig(folder / PICTURE, dpi=150)
    reader, rows = studied.reader, studied.rows
    keys = [reader.scorer.catalogue.keys[n] for n in reader.store.column("item")[rows]]
    frame = frame_of(reader, studied.said, reader.texts(rows), keys)
    frame.assign(rated=studied.stars, did_recommend=studied.likes).to_csv(
        folder / REVIEWS, index=False, float_format="%.5g"
    )
    rows_of_groups = [row for table in groups_of(studied).values() for row in table["rows"]]
    pd.DataFrame(rows_of_groups, columns=["group", *COLUMNS]).to_csv(folder / GROUPS, index=False, float_format="%.5g")
    record.write(folder)


def frame_of(reader: Reader, said: Said, texts: list[str], items: list[str]) -> pd.DataFrame:
    """A row per review: the item, p of each rating, the expected rating, p(recommended), what was written
    (with `data.pseudonyms` of the query its pseudonym).
    """
    levels = {f"p_{reader.rating.name}_{level}": said.levels[:, n] for n, level in enumerate(reader.rating.levels)}
    return pd.DataFrame(
        {
            "item": items,
            "rating": said.rating(reader.worth),
            f"p_{reader.recommended.name}": said.recommended,
            **levels,
            "text": [reader.scorer.rows.shown.query(text) for text in texts],
        }
    )


# --- tables --------------------------------------------------------------------------------------------------------

COLUMNS = ("reviews", "predicted", "low", "high", "rated", "p(recommended)", "did", "better with", "worse with")


def groups_of(studied: Studied) -> dict[str, Any]:
    """A table for each way of grouping, the worst first."""
    found: dict[str, Any] = {}
    for group in studied.groups:
        table = found.setdefault(f"by {group.by}", {"columns": [group.by, *COLUMNS], "rows": []})
        table["rows"].append(
            [
                group.name,
                group.reviews,
                group.predicted,
                group.low,
                group.high,
                group.rated,
                group.recommended,
                group.did,
                _words(group.up),
                _words(group.down),
            ]
        )
    return found


def _words(pushes: list[Push]) -> str:
    return ", ".join(f"{push.word} {push.rating:+.2f}" for push in pushes)


def _readers(studied: Studied) -> dict[str, Any]:
    rows = [[name, key, *_parts(one)] for name, found in studied.measures.items() for key, one in found.items()]
    return {"columns": ["reader", "measure", "value", "low", "high"], "rows": rows}


def _differences(studied: Studied) -> dict[str, Any]:
    rows = [[name, key, *_parts(one)] for name, found in studied.differences.items() for key, one in found.items()]
    return {"columns": ["the run less", "measure", "difference", "low", "high"], "rows": rows}


def _parts(measured: Measured) -> tuple[float, float, float]:
    return measured.value, measured.low, measured.high


# --- numbers and notes ---------------------------------------------------------------------------------------------


def _numbers(studied: Studied) -> dict[str, dict[str, Any]]:
    told = (
        f"{studied.settings.split} split, {len(studied.rows)} reviews of {studied.clusters} items; "
        f"bootstrap of {studied.settings.draws} draws of items"
    )
    found = {}
    for name, measures in studied.measures.items():
        for key, one in measures.items():
            found[f"{name}/{key}"] = {"value": one.value, "low": one.low, "high": one.high, "protocol": told}
    for name, measures in studied.differences.items():
        for key, one in measures.items():
            found[f"{RUN} less {name}/{key}"] = {
                "value": one.value,
                "low": one.low,
                "high": one.high,
                "protocol": f"paired; {told}",
            }
    return found


def _notes(studied: Studied) -> list[str]:
    notes = []
    for name, measures in studied.differences.items():
        said = []
        for key, one in measures.items():
            better = one.high < 0 if key == "rating MAE" else one.low > 0
            worse = one.low > 0 if key == "rating MAE" else one.high < 0
            verdict = "better" if better else "worse" if worse else "no claim"
            said.append(f"{key} {one.value:+.4f} ({one.low:+.4f} to {one.high:+.4f}), {verdict}")
        notes.append(f"The run less {name}: {'; '.join(said)}.")
    own = studied.measures[RUN][MEASURES[0]]
    blind = not own.low > 0.5  # nan too
    if blind:
        notes.append(
            f"The run does not tell recommended reviews from others ({MEASURES[0]} {own.value:.3f}, {own.low:.3f} to "
            f"{own.high:.3f}; 0.5 is chance): act on nothing here, train it longer or otherwise."
        )
    worst = [group for group in studied.groups if group.by == studied.groups[0].by][:3]
    if worst and not blind:
        told = "; ".join(f"{group.name} ({group.predicted:.2f}{_down(group)})" for group in worst)
        notes.append(f"Look first at {worst[0].by} {told}: the lowest predicted ratings.")
    if apart := [group for group in studied.groups if abs(group.predicted - group.rated) > APART]:
        names = ", ".join(f"{group.name} ({group.predicted:.2f} for {group.rated:.2f})" for group in apart[:3])
        notes.append(f"Predicted and given ratings differ by more than {APART:g} for {names}.")
    notes.append(
        "Words are those whose reviews the run rates higher or lower than the group's others; that is no proof that "
        "they are why. Who writes a review is not who buys."
    )
    return notes


def _down(group: Grouped) -> str:
    return f"; {', '.join(push.word for push in group.down[:3])}" if group.down else ""
