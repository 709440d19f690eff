"""What a transfer came to, as numbers, tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from funneltune.experiments.transfer.curve import Transferred
from funneltune.experiments.transfer.settings import PRETRAINED, Start
from funneltune.experiments.transfer.target import left_behind
from funneltune.metrics import Comparison
from funneltune.records import DecisionRecord
from funneltune.runs.identity import git_commit, versions

PICTURE = "curve.png"
Table = dict[str, Any]
Number = dict[str, Any]


def record_of(found: Transferred, run: Path, to: str) -> DecisionRecord:
    """Everything but the picture."""
    differences, untrained, trained = found.differences(), found.untrained(), found.trained()
    return DecisionRecord(
        verb="transfer",
        run=",".join([str(run), *dict.fromkeys(one for start in found.settings.starts for one in start.others)]),
        settings={
            "to": to,
            "start": [start.name for start in found.settings.starts],
            "shots": found.counts,
            "seeds": list(found.settings.seeds),
            "metric": found.metric,
            "target_training_requests": found.requests,
        },
        numbers=_numbers(found, differences, untrained, trained),
        tables={
            "curve": _curve(found, differences),
            "untrained": _untrained(untrained),
            "rates": _rates(found),
            "carried": _carried(found),
        },
        figures=[PICTURE] if any(found.counts) else [],
        notes=_notes(found, differences, untrained, trained),
        git_commit=git_commit(),
        versions=versions(),
    )


def mean(values: list[float]) -> float:
    """Over seeds."""
    return sum(values) / len(values)


def _curve(found: Transferred, differences: dict[tuple[Start, int], Comparison]) -> Table:
    """A line per shot count and start."""
    rows: list[list[Any]] = []
    for shots in found.counts:
        if shots and not found.settings.compared:
            rows.append([shots, PRETRAINED.name, mean(found.value(PRETRAINED, shots)), *[None] * 6])
        for start in found.settings.compared:
            value, of = mean(found.value(start, shots)), differences.get((start, shots))
            base = None if of is None else of.baseline_value
            told = [None] * 4 if of is None else [of.difference, of.low, of.high, of.verdict]
            rows.append([shots, start.name, value, base, *told, _worth(found, start, shots)])
    columns = ["shots", "start", "value", "pretrained", "difference", "low", "high", "verdict", "worth"]
    return {"columns": columns, "rows": rows}


def _worth(found: Transferred, start: Start, shots: int) -> str | None:
    """In words: 240, or >1000, or <100."""
    worth, least = found.worth(start, shots), min((n for n in found.counts if n), default=0)
    if math.isfinite(worth):
        return f"{worth:,.0f}"
    return None if not least else f">{max(found.counts):,}" if worth > 0 else f"<{least:,}"


def _untrained(untrained: dict[tuple[Start, str], Comparison]) -> Table:
    rows = [
        [start.name, of.value, scorer, of.baseline_value, of.difference, of.low, of.high, of.verdict]
        for (start, scorer), of in untrained.items()
    ]
    return {"columns": ["start", "value", "against", "its", "difference", "low", "high", "verdict"], "rows": rows}


def _rates(found: Transferred) -> Table:
    """Every rate's AUC and log loss: what the headline metric does not show."""
    known = set(next(iter(found.statistics.values()))[0])
    names = dict.fromkeys(rate for task in found.funnel.binary for rate in (task.rate, task.joint_rate))
    metrics = [f"{rate}/{kind}" for rate in names for kind in ("auc", "log_loss")]
    rows: list[list[Any]] = []
    for metric in metrics:
        if not any(name.startswith(f"{metric}:") for name in known):
            continue
        for (start, shots), of in found.differences(metric).items():
            rows.append([metric, shots, start.name, of.value, of.baseline_value, of.difference, of.low, of.high])
    columns = ["metric", "shots", "start", "value", "pretrained", "difference", "low", "high"]
    return {"columns": columns, "rows": rows}


def _carried(found: Transferred) -> Table:
    rows = [
        [start.name, part, numbers, len(carried.runs)]
        for start, carried in found.carried.items()
        for part, numbers in carried.parts.items()
    ]
    rows += [[start.name, part, 0, 0] for start, carried in found.carried.items() for part in carried.anew]
    return {"columns": ["start", "part", "numbers_carried", "runs"], "rows": rows}


def _numbers(
    found: Transferred,
    differences: dict[tuple[Start, int], Comparison],
    untrained: dict[tuple[Start, str], Comparison],
    trained: dict[tuple[Start, int], Comparison],
) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    for (start, shots), values in ((key, found.value(*key)) for key in found.statistics if key[1] in found.counts):
        told = f"{found.metric} on the target's test, {shots} training requests, mean over {len(values)} run(s)"
        numbers[f"{start.name}/{shots}"] = {"value": mean(values), "low": None, "high": None, "protocol": told}
    for (start, shots), of in differences.items():
        numbers[f"{start.name}/{shots} less pretrained"] = _interval(of, found)
    for (start, shots), of in trained.items():
        numbers[f"{start.name}/{shots} less untrained"] = _interval(of, found)
    for (start, scorer), of in untrained.items():
        numbers[f"{start.name}/0 less {scorer}"] = _interval(of, found)
    return numbers


def _interval(of: Comparison, found: Transferred) -> Number:
    told = f"{found.metric}, {of.method}, {of.seeds} seed(s), {of.clusters} clusters, 95%"
    return {"value": of.difference, "low": of.low, "high": of.high, "protocol": told}


def _notes(
    found: Transferred,
    differences: dict[tuple[Start, int], Comparison],
    untrained: dict[tuple[Start, str], Comparison],
    trained: dict[tuple[Start, int], Comparison],
) -> list[str]:
    notes = [_advice(found, start, differences) for start in found.settings.compared if any(found.counts)]
    notes += [
        f"Training on {shots} requests did harm: with them {start.name} is worse than untrained ({_told(of)})."
        for (start, shots), of in trained.items()
        if of.verdict == "worse"
    ]
    for start in found.settings.compared:
        told = [f"{of.verdict} than {scorer}" for (one, scorer), of in untrained.items() if one == start]
        told = [one.replace("no claim than", "no different, by this test, from") for one in told]
        if told:
            notes.append(f"Without a request of the target, {start.name} is {' and '.join(told)}.")
    anew = dict.fromkeys(part for carried in found.carried.values() for part in carried.anew)
    if anew:
        notes.append(left_behind(list(anew)))
    if len(found.settings.seeds) == 1 and any(found.counts):
        notes.append("One seed: the intervals cover which requests were tested, not which were drawn for training.")
    notes.append(
        "Both sides train alike (rates, passes over the requests): what another schedule would give either of them is "
        "not shown. `worth` is how many requests the pretrained backbone alone needs for the same value."
    )
    return notes


def _advice(found: Transferred, start: Start, differences: dict[tuple[Start, int], Comparison]) -> str:
    """What to do, in a sentence."""
    own = {shots: of for (one, shots), of in differences.items() if one == start}
    better = [shots for shots, of in own.items() if of.verdict == "better"]
    worse = [shots for shots, of in own.items() if of.verdict == "worse"]
    if worse:
        first = own[worse[0]]
        told = f"{_told(first)} at {worse[0]} requests{_one_seed(found)}"
        return f"Start from the pretrained backbone there: beginning with {start.name} does harm ({told})."
    if not better:
        return f"No claim: with {start.name} the target gained nothing at any of {', '.join(map(str, own))} requests."
    last = better[-1]
    until = f"up to {last} requests" if last < max(own) else f"even with {last} requests"
    least = better[0]
    told = f"{_told(own[least])} at {least} requests; the backbone alone needs {_worth(found, start, least)} for that"
    told = f"better than the pretrained backbone alone {until} ({told}{_one_seed(found)})"
    ahead = _ahead(found, start, better)
    return (
        f"With {start.name} the target is {told}, but {ahead}." if ahead else f"Begin with {start.name}: it is {told}."
    )


def _ahead(found: Transferred, start: Start, counts: Sequence[int]) -> str:
    """Which references score above a start, and at which counts; empty where none does."""
    above: dict[tuple[str, float], list[str]] = {}
    for shots in counts:
        for reference in found.ahead(start, shots).items():
            above.setdefault(reference, []).append(f"{mean(found.value(start, shots)):.4f} at {shots} requests")
    told = [f"{name} ({value:.4f}) scores above it ({', '.join(own)})" for (name, value), own in above.items()]
    return " and ".join(told)


def _one_seed(found: Transferred) -> str:
    return "; one seed: the interval covers requests only, not seeds" if len(found.settings.seeds) == 1 else ""


def _told(of: Comparison) -> str:
    if of.difference is None or of.low is None or of.high is None:
        return "difference undefined"
    return f"{of.metric} {of.difference:+.4f}, {of.low:+.4f} to {of.high:+.4f}"
