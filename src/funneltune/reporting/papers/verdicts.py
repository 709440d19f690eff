"""What of a paper holds here: each claim at each place, from the records of our studies. Nothing is typed in.

A place's sum has an interval over test requests and seeds (`metrics.contrast`). With p-values Holm-corrected over all
places of a paper at one scale, and what is detectable told at the level of the first of them (0.05 / places), so that
whatever lies further off is found, a place is

- `reproduced`: the sum lies above the threshold, beyond chance;
- `contradicted`: it lies below the threshold, beyond chance;
- `missed`: neither, though a sum as far from the threshold as the paper's would have been found in four cases of five;
- `undecided`: neither, and the noise is larger than the claim: `detectable` is what would have been found;
- `not run`: a cell has no finished run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from funneltune.metrics import Interval, clusters_in, contrast, holm, minimum_detectable, seed_difference
from funneltune.metrics.comparison import finite
from funneltune.records import RecordFolder, StoredRun, read_records, record_paths
from funneltune.reporting.comparisons import fold_of, test_over_train_of
from funneltune.reporting.held import Held
from funneltune.reporting.papers.entry import Claim, Paper, Place

REPRODUCED, CONTRADICTED, MISSED, UNDECIDED, NOT_RUN = "reproduced", "contradicted", "missed", "undecided", "not run"
STATUSES = (REPRODUCED, CONTRADICTED, MISSED, UNDECIDED, NOT_RUN)
ALPHA = 0.05
Runs = Mapping[tuple[int, int | None], StoredRun]


@dataclass(frozen=True)
class AtPlace:
    """A claim at one place."""

    place: Place
    status: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    detectable: float | None = None
    """The smallest distance from the threshold that this design would find with 80% power, at 0.05 / places."""
    seeds: int = 0
    note: str = ""


def _together(statuses: Sequence[str]) -> str:
    """The worst that is known; reproduced where all are, undecided where some are not run."""
    if all(status == NOT_RUN for status in statuses):
        return NOT_RUN
    for decisive in (CONTRADICTED, MISSED):
        if decisive in statuses:
            return decisive
    return REPRODUCED if all(status == REPRODUCED for status in statuses) else UNDECIDED


@dataclass(frozen=True)
class OnClaim:
    """A claim at all places of a scale."""

    claim: Claim
    places: tuple[AtPlace, ...]

    @property
    def status(self) -> str:
        """Reproduced where it holds at every place; contradicted where one place says the contrary."""
        return _together([place.status for place in self.places])


@dataclass(frozen=True)
class OnPaper:
    """A paper at one scale."""

    paper: Paper
    scale: str
    claims: tuple[OnClaim, ...]

    @property
    def status(self) -> str:
        """Of the claims that were tried: the worst that is known."""
        return _together([one.status for one in self.claims if one.places])

    @property
    def counted(self) -> dict[str, int]:
        """Status -> claims."""
        found = [one.status for one in self.claims]
        return {status: found.count(status) for status in STATUSES if status in found}


class Shelf:
    """The studies that were run, by their names, found in the first of some folders that holds runs of them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(folders)
        self._read: dict[str, RecordFolder | None] = {}
        self.held = Held()

    def study(self, name: str) -> RecordFolder | None:
        """A study's records; None where no folder has any.

        Raises:
            RunError: where one has records that cannot be read.
        """
        if name not in self._read:
            self._read[name] = next((found for f in self.folders if (found := _records(f / name)) is not None), None)
        return self._read[name]

    def debugged(self, studies: Sequence[str]) -> list[str]:
        """Those whose runs were made small by a `debug=`."""
        known = {name: records.runs for name in studies if (records := self.study(name)) is not None}
        return [name for name, runs in known.items() if any(" debug=" in str(run.record.command) for run in runs)]

    def runs(self, study: str, cell: str) -> Runs:
        """The finished runs of a cell, by seed and fold."""
        records = self.study(study)
        found = records.cells.get(cell, ()) if records is not None else ()
        return {(run.record.seed, fold_of(run)): run for run in found if run.record.status == "finished"}


def _records(folder: Path) -> RecordFolder | None:
    return read_records(folder) if folder.is_dir() and record_paths(folder) else None


def judge_paper(paper: Paper, scale: str, shelf: Shelf) -> OnPaper:
    """All claims of a paper at a scale.

    Raises:
        ConfigError: if the paper has no such scale.
    """
    paper.studies(scale)
    measured = [[_measured(claim, place, shelf) for place in claim.at[scale]] for claim in paper.claims]
    tried = [interval for places in measured for _, interval in places if interval is not None]
    adjusted = iter(holm([interval.p_value for interval in tried]))
    level = 1.0 - ALPHA / max(1, sum(np.isfinite(interval.p_value) for interval in tried))
    claims = []
    for claim, places in zip(paper.claims, measured, strict=True):
        judged = [
            at if interval is None else _judged(claim, at, interval, float(next(adjusted)), level)
            for at, interval in places
        ]
        claims.append(OnClaim(claim, tuple(judged)))
    return OnPaper(paper, scale, tuple(claims))


def _judged(claim: Claim, at: AtPlace, interval: Interval, p_holm: float, level: float) -> AtPlace:
    """`level`: at which a difference counts whatever the other places say."""
    detectable = finite(minimum_detectable(interval.standard_error, interval.degrees_of_freedom, level))
    status = UNDECIDED
    if at.estimate is not None and p_holm < ALPHA and not at.note:
        status = REPRODUCED if at.estimate > claim.above else CONTRADICTED
    elif at.place.effect is not None and detectable is not None and not at.note:
        # a paper whose own numbers lie below the threshold says nothing of how far above it ours should
        status = MISSED if detectable <= at.place.effect - claim.above else UNDECIDED
    return replace(at, status=status, p_holm=finite(p_holm), detectable=detectable)


def _measured(claim: Claim, place: Place, shelf: Shelf) -> tuple[AtPlace, Interval | None]:
    """The sum at a place and its interval, not yet judged; None where it cannot be had."""
    sides = {cell: shelf.runs(place.study, cell) for cell in place.cells}
    missing = [cell for cell, runs in sides.items() if not runs]
    if missing:
        return AtPlace(place, NOT_RUN, note=_lacking(missing, shelf.study(place.study))), None
    common = set.intersection(*(set(runs) for runs in sides.values()))
    keys = sorted(common, key=lambda key: (key[0], -1 if key[1] is None else key[1]))
    runs = [[side[key] for key in keys] for side in sides.values()]
    if not keys:
        return AtPlace(place, NOT_RUN, note="no seed that all cells have"), None
    if any(run.record.value(place.metric) is None for side in runs for run in side):
        return AtPlace(place, NOT_RUN, note=f"records without {place.metric}"), None
    interval, note = _interval(claim, place, runs, shelf.held)
    found = AtPlace(
        place,
        UNDECIDED,
        estimate=finite(interval.estimate),
        low=finite(interval.low),
        high=finite(interval.high),
        p_value=finite(interval.p_value),
        seeds=len(keys),
        note="one seed" if len(keys) == 1 else note,
    )
    return found, interval


def _lacking(cells: Sequence[str], records: RecordFolder | None) -> str:
    """Which cells have no finished run, and which the records do not know at all."""
    told = [cell if records is None or cell in records.cells else f"{cell} (no cell of its records)" for cell in cells]
    return f"no finished run of {', '.join(told)}"


def _interval(claim: Claim, place: Place, runs: Sequence[Sequence[StoredRun]], held: Held) -> tuple[Interval, str]:
    """The contrast's interval; over seeds alone, with that note, where records hold no statistics of the metric."""
    weights = list(place.cells.values())
    statistics = [[held.of(run, place.metric) for run in side] for side in runs]
    held.forget(place.metric)
    whole = [[one for one in side if one is not None] for side in statistics]
    if all(len(a) == len(b) for a, b in zip(whole, statistics, strict=True)):
        sides = [clusters_in(side, place.metric) for side in whole]
        known = [_rows(run, held) for run in runs[0]]
        found = contrast(
            sides,
            weights,
            null=claim.above,
            off_one=place.off_one,
            known=known,
            test_over_train=test_over_train_of(runs[0]),
        )
        return found, ""
    values = np.array([[run.record.value(place.metric) or 0.0 for run in side] for side in runs])
    values = np.abs(values - 1.0) if place.off_one else values
    sums = (np.asarray(weights) @ values).tolist()
    return seed_difference(sums, [claim.above] * len(sums)), "over seeds alone, whose test rows are the same"


def _rows(run: StoredRun, held: Held) -> tuple[str, str]:
    """What tells a run's test rows apart."""
    units = held.units(run)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(units[name]).tobytes() for name in sorted(units)))
    return str(run.record.data.get("fingerprint")), digest.hexdigest()
