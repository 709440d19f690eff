"""Measure a finished run anew and take the result into its record: what later releases measure, earlier runs get."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from funneltune.errors import RunError
from funneltune.files import locked
from funneltune.records import RECORD_NAME, RunRecord, number
from funneltune.runs.identity import git_commit
from funneltune.runs.load import finished_config, load, measured
from funneltune.runs.measuring import now, write_down


def remeasure(run: Path) -> RunRecord:
    """Predict validation and test with a run's weights, and write metrics, slices, calibration, statistics and
    predictions as a run of this release leaves them. A run that left the test split alone still does.

    `measured` says when and at which commit, and how far any metric that was recorded before has moved.

    Raises:
        RunError: if the folder is no finished run or another process writes it, its weights are missing or damaged, or
            its log has changed since.
    """
    finished_config(run)  # a folder that is no run has no lock to hold
    with locked(run, refuse=f"run={run} is being written by another process; wait for it."):
        assembly = load(run)
        record = RunRecord.read(run / RECORD_NAME)
        if record.data.get("fingerprint") != assembly.data.store.fingerprint:
            raise RunError(f"run={run} was trained on another log (its rows or column map have changed); restore them.")
        before = record.metrics
        for split in ("validation", *(["test"] if assembly.cfg.get("test", True) else [])):
            measured(assembly, run, split)
        write_down(assembly, run, record)
        distance, metric = furthest(before, record.metrics)
        record.measured = {"at": now(), "git_commit": git_commit(), "largest_difference": distance, "metric": metric}
        record.write(run / RECORD_NAME)
    return record


def furthest(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, str | None]:
    """The largest difference of any metric that both have, and which it is (None: none differs)."""
    distance, metric = 0.0, None
    for split, metrics in before.items():
        for key, entry in metrics.items():
            then, now_ = number(entry), number(after.get(split, {}).get(key))
            if then is not None and now_ is not None and abs(then - now_) > distance:
                distance, metric = abs(then - now_), f"{split}/{key}"
    return distance, metric
