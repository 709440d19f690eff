"""The statistics of a study's runs, read metric by metric; what runs share (labels, requests) is held once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import RunError
from funneltune.metrics import StoredStatistics
from funneltune.metrics.formulas import formula_parts
from funneltune.metrics.statistics import AUC_PARTS, MEAN_PARTS, UNITS
from funneltune.records import StoredRun

logger = logging.getLogger("funneltune")
SHARED = frozenset({"positives", "negatives", "weight"})
"""Parts that follow from the labels, so that runs on the same rows have them in common."""


class Held:
    """Reads a run's statistics of one metric at a time, so that a study of hundreds of runs fits into memory."""

    def __init__(self) -> None:
        self._files: dict[Path, StoredStatistics | None] = {}
        self._shared: dict[str, list[NDArray]] = {}

    def there(self, run: StoredRun) -> bool:
        """Whether the run has statistics that can be read."""
        return self._file(run) is not None

    def of(self, run: StoredRun, metric: str, scorer: str = "") -> dict[str, NDArray] | None:
        """The parts of a metric and the requests that they belong to; None where they are not there.

        `scorer` names a baseline that was scored on the run's rows; its parts come under the metric's own keys.
        """
        stored = self._file(run)
        who = f"{scorer}|" if scorer else ""
        parts = [
            part
            for part in (*AUC_PARTS, *MEAN_PARTS, *formula_parts(metric))
            if stored and f"{who}{metric}:{part}" in stored
        ]
        if stored is None or not parts:
            return None
        try:
            found = {unit: self._share(unit, stored[unit]) for unit in UNITS if unit in stored}
            for part in parts:
                values = np.asarray(stored[f"{who}{metric}:{part}"], dtype=np.float64)
                found[f"{metric}:{part}"] = self._share(f"{metric}:{part}", values) if part in SHARED else values
        except RunError as error:
            self._lose(stored.path, error)
            return None
        return found

    def units(self, run: StoredRun) -> Mapping[str, NDArray]:
        """The requests (or users) that a run was tested on."""
        stored = self._file(run)
        return {} if stored is None else {unit: self._share(unit, stored[unit]) for unit in UNITS if unit in stored}

    def forget(self, metric: str) -> None:
        """Let go of what is held for a metric."""
        for name in [name for name in self._shared if name.rpartition(":")[0] == metric]:
            del self._shared[name]

    def _file(self, run: StoredRun) -> StoredStatistics | None:
        if run.statistics is None:
            return None
        if run.statistics not in self._files:
            try:
                self._files[run.statistics] = StoredStatistics(run.statistics)
            except RunError as error:
                self._lose(run.statistics, error)
        return self._files[run.statistics]

    def _lose(self, path: Path, error: RunError) -> None:
        """Statistics that cannot be read are told of once; nothing is claimed of their run."""
        self._files[path] = None
        logger.warning("%s Until then nothing is claimed of this run.", error)

    def _share(self, name: str, values: NDArray) -> NDArray:
        """The array itself, or the equal one that is held already."""
        known = self._shared.setdefault(name, [])
        for other in known:
            if np.array_equal(other, values):
                return other
        known.append(values)
        return values
