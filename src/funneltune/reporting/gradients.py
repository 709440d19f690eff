"""How tasks' gradients meet on the tuned weights: their cosines over training, by cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from funneltune.records import RecordFolder, StoredRun
from funneltune.reporting.history import curve, names
from funneltune.reporting.sections import Section

COSINE = re.compile(r"gradient/cosine(?P<shared>_shared)?\[(?P<pair>.+)\]")
PARTS = ("first third", "second third", "last third")


def gradients_section(records: RecordFolder, shown: Mapping[str, str]) -> Section | None:
    """A row per cell and pair of tasks: the mean cosine of their gradients in each third of the steps that measured
    them, and how often it was negative.
    """
    rows = []
    for cell, runs in records.cells.items():
        measured = [cosines(run) for run in runs if run.record.status == "finished"]
        for word in dict.fromkeys(word for found in measured for word in found):
            values = [np.asarray(found[word]) for found in measured if len(found.get(word, ())) >= len(PARTS)]
            if values:
                thirds = [[float(part.mean()) for part in np.array_split(each, len(PARTS))] for each in values]
                against = float(np.mean([np.mean(each < 0) for each in values]))
                rows.append((shown.get(cell, cell), word, *map(_spread, zip(*thirds, strict=True)), f"{against:.0%}"))
    if not rows:
        return None
    return Section(
        "How the tasks' gradients meet",
        ("", "tasks", *PARTS, "against"),
        tuple(rows),
        (
            "mean cosine of two tasks' gradients on the weights that tuning trains in the backbone (shared: on all "
            "that both reach, where nothing of it is trained), by thirds of the training; ± standard deviation over "
            "seeds",
            "against: share of the measured steps in which the cosine is negative",
        ),
    )


def cosines(run: StoredRun) -> dict[str, list[float]]:
    """`click, purchase` -> the cosines of a run's history, in the order of its steps."""
    found: dict[str, list[float]] = {}
    for name in names(run):
        if named := COSINE.fullmatch(name):
            word = named["pair"].replace(",", ", ") + (" (shared)" if named["shared"] else "")
            found[word] = curve(run, name)[1].tolist()
    return found


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):+.2f}" + (f" ±{np.std(values, ddof=1):.2f}" if len(values) > 1 else "")
