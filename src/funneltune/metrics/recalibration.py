"""A run's calibration: every scaling fitted per task on the validation rows, and what each does to both splits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from funneltune.errors import DataError
from funneltune.funnel import TaskFunnel
from funneltune.metrics.calibration import ece, log_loss, reliability
from funneltune.metrics.scaling import SCALINGS, Scaling
from funneltune.metrics.spaces import Columns, Space, conditional, joint, spaces
from funneltune.metrics.ties import Floats

METHODS = tuple(SCALINGS)
RAW = "none"
"""Probabilities as predicted."""
LEAST = 10
"""Rows of either label below which nothing is fitted: a handful of labels says little of how sure to be."""
FITTED_ON, TESTED_ON = "validation", "test"


def calibrate(
    splits: Mapping[str, Columns], funnel: TaskFunnel, methods: Sequence[str] = METHODS, bins: int = 15
) -> dict[str, Any]:
    """Fit scalings to validation predictions, each binary task where it is observed; measure them on both splits.

    Args:
        splits: `validation`, and `test` where it was predicted: the columns of `evaluate`.
        funnel: The tasks.
        methods: Of `temperature`, `platt`, `isotonic`.
        bins: Of the calibration error and the reliability curve.

    Returns:
        Rate -> `rows` in words, `fitted_on` {split, n, positives} and `methods`: for `none` (as predicted) and each
        method its `parameters`, and per split `log_loss` and `ece`, on test with the `curve` of the latter; or
        `skipped`, a reason, in place of `methods`. None where undefined.

    Raises:
        DataError: if a method is unknown.
    """
    for method in methods:
        if method not in SCALINGS:
            raise DataError(f"calibration.methods: {method!r} is none of {', '.join(METHODS)}; choose of these.")
    if FITTED_ON not in splits or not methods:
        return {}
    tests = {space.rate: space for space in spaces(splits[TESTED_ON], funnel)} if TESTED_ON in splits else {}
    found: dict[str, Any] = {}
    for space in spaces(splits[FITTED_ON], funnel):
        if space.task.rate != space.rate:
            continue  # a joint rate: the product of scaled ones
        label, p = space.label, _said(splits[FITTED_ON], space)
        positives = int(label.sum())
        told = {"rows": space.name, "fitted_on": {"split": FITTED_ON, "n": len(label), "positives": positives}}
        if why := _too_little(len(label), positives):
            found[space.rate] = told | {"skipped": why}
            continue
        test = (tests[space.rate].label, _said(splits[TESTED_ON], tests[space.rate])) if tests else None
        measured: dict[str, Any] = {RAW: _measured(None, label, p, test, bins)}
        for method in methods:
            scaling = SCALINGS[method].fit(label, p)
            measured[method] = {"parameters": scaling.to_json(), **_measured(scaling, label, p, test, bins)}
        found[space.rate] = told | {"methods": measured}
    return found


def scalings(calibration: Mapping[str, Any], method: str) -> dict[str, Scaling]:
    """Rate -> what a record's `calibration` fitted by a method; rates that were skipped are left out."""
    return {
        rate: SCALINGS[method].from_json(told["methods"][method]["parameters"])
        for rate, told in calibration.items()
        if method in told.get("methods", {})
    }


def scaled(columns: Columns, funnel: TaskFunnel, by_rate: Mapping[str, Scaling]) -> dict[str, Any]:
    """The columns with scaled `p_*`: conditional ones by their rate's scaling (else as they are), joint ones multiplied
    anew along the funnel.
    """
    found = dict(columns)
    for task in funnel.binary:
        if task.rate in by_rate:
            found[f"p_{task.conditional}"] = by_rate[task.rate].apply(conditional(columns, task))
    if by_rate:
        without = {name: values for name, values in found.items() if name not in _joint_columns(funnel)}
        found |= {f"p_{task.joint}": joint(without, funnel, task) for task in funnel.binary}
    return found


def _joint_columns(funnel: TaskFunnel) -> set[str]:
    return {f"p_{task.joint}" for task in funnel.binary if task.given}


def _said(columns: Columns, space: Space) -> Floats:
    return conditional(columns, space.task)[space.rows]


def _too_little(rows: int, positives: int) -> str:
    for count, what in ((positives, "with the label 1"), (rows - positives, "with the label 0")):
        if count < LEAST:
            return f"{count} of {rows} {FITTED_ON} rows {what}; a scaling needs at least {LEAST}"
    return ""


def _measured(
    scaling: Scaling | None, label: Floats, p: Floats, test: tuple[Floats, Floats] | None, bins: int
) -> dict[str, Any]:
    """Log loss and calibration error of a scaling (None: none) on both splits."""

    def apply(values: Floats) -> Floats:
        return values if scaling is None else scaling.apply(values)

    found: dict[str, Any] = {FITTED_ON: _numbers(label, apply(p), bins)}
    if test is not None:
        found[TESTED_ON] = _numbers(test[0], apply(test[1]), bins)
        found[TESTED_ON]["curve"] = reliability(test[0], apply(test[1]), bins).to_json()
    return found


def _numbers(label: Floats, p: Floats, bins: int) -> dict[str, Any]:
    values = {"log_loss": log_loss(label, p), "ece": ece(label, p, bins)}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
