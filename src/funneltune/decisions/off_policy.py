"""What another policy would have earned on a run's log: several estimates, what speaks against them, the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from funneltune.decisions.choices import Chooser
from funneltune.decisions.logged_choices import Decisions, Reward, decisions_of
from funneltune.decisions.order import Worth
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.metrics.off_policy import (
    ESTIMATORS,
    Estimate,
    Overlap,
    estimate,
    overlap,
    require_overlap,
)
from funneltune.records import DecisionRecord
from funneltune.runs.identity import git_commit, versions

SPLITS = ("validation", "test")
MODEL_TRUSTING = ("dm", "switch_dr", "shrunk_dr")
DEFAULT = ("dm", "ips", "snips", "dr", "sndr", "switch_dr", "shrunk_dr")


def evaluate_policy(
    scorer: Scorer,
    chooser: Chooser,
    *,
    by: str = "",
    reward: str = "",
    split: str = "test",
    estimators: Sequence[str] = DEFAULT,
    clip: float | None = None,
    most: int | None = None,
    draws: int = 2_000,
) -> DecisionRecord:
    """The value of a policy by several estimators, how far the log supports it, and the truth where it is known.

    Args:
        scorer: The run: its scores are the policy's, its probabilities the reward model.
        chooser: From scores to chances.
        by: What scores are: a rate, `revenue`, or a weighted sum; empty: the last rate.
        reward: A binary task of the run (click, purchase) or revenue; empty: the first task.
        split: `test` or `validation`.
        estimators: Of `metrics.off_policy.ESTIMATORS`.
        clip: No weight above it; None: as they are.
        most: Only the first so many requests.
        draws: Of the bootstrap; 0: no BCa interval.

    Raises:
        ConfigError: for a word that names nothing.
        DataError: if the log tells no chances, or next to nothing of this policy.
    """
    if split not in SPLITS:
        raise ConfigError(f"split={split} must be one of {', '.join(SPLITS)}; the reward model learnt from the others.")
    if unknown := [name for name in estimators if name not in ESTIMATORS] or ([] if estimators else [""]):
        raise ConfigError(f"estimators={unknown[0]} must be of {', '.join(ESTIMATORS)}.")
    earned = Reward.parse(reward, scorer)
    found = decisions_of(scorer, chooser, Worth.parse(by, scorer.rates), earned, split, most)
    logged = found.logged if clip is None else found.logged.clipped(clip)
    support = overlap(logged, random=clip is None)
    require_overlap(support, f"policy={chooser.kind}")
    estimates = [estimate(name, logged, draws=draws) for name in estimators]
    asked = {
        "policy": chooser.kind,
        "temperature": chooser.temperature if chooser.kind in ("softmax", "tilted") else None,
        "epsilon": chooser.epsilon if chooser.kind == "epsilon" else None,
        "by": by or scorer.rates[-1],
        "reward": earned.name,
        "split": split,
        "clip": clip,
        "requests": most,
    }
    return _record(scorer, asked, replace(found, logged=logged), support, estimates, draws)


def _record(
    scorer: Scorer,
    asked: dict[str, Any],
    found: Decisions,
    support: Overlap,
    estimates: Sequence[Estimate],
    draws: int,
) -> DecisionRecord:
    logged = found.logged
    protocol = {
        "decisions": support.rows,
        "clusters": len(np.unique(logged.cluster)),
        "interval": "clustered jackknife",
    }
    own = estimate("ips", replace(logged, weight=np.ones(support.rows)), draws=0)
    assert logged.predicted is not None
    assert logged.expected is not None
    gained = logged.expected + logged.weight * (logged.reward - logged.predicted) - logged.reward
    gain = estimate("dm", replace(logged, expected=gained), draws=0)  # the mean of a column, with its interval
    told = {"the log's own": own, "dr less the log's own": gain, **{one.estimator: one for one in estimates}}
    numbers = {n: {"value": e.value, "low": e.low, "high": e.high, "protocol": protocol} for n, e in told.items()}
    known = np.isfinite(found.truth)
    if known:
        for name, truth in (("truth", found.truth), ("truth of the log's own", found.truth_of_log)):
            numbers[name] = {"value": truth, "low": truth, "high": truth, "protocol": {"from": "the world"}}
    rows = [
        [
            *(e.estimator, e.value, e.low, e.high, _finite(e.bootstrap_low), _finite(e.bootstrap_high)),
            *(_finite(e.threshold), found.truth if known else None, e.covers(found.truth) if known else None),
        ]
        for e in estimates
    ]
    columns = ["estimator", "value", "low", "high", "bca_low", "bca_high", "threshold", "truth", "covered"]
    return DecisionRecord(
        verb="offpolicy",
        run=str(scorer.folder),
        settings={
            **asked,
            "calibration": scorer.calibration,
            "estimators": [one.estimator for one in estimates],
            "bootstrap_draws": draws,
        },
        numbers=numbers,
        tables={
            "estimates": {"columns": columns, "rows": rows},
            "overlap": {"columns": [*Overlap._fields, "weak"], "rows": [[*support, support.weak]]},
        },
        notes=_notes(asked, found, support, estimates),
        git_commit=git_commit(),
        versions=versions(),
    )


def _notes(asked: Mapping[str, Any], found: Decisions, support: Overlap, estimates: Sequence[Estimate]) -> list[str]:
    if np.isfinite(found.truth):
        notes = [
            f"Value: the mean {asked['reward']} of a place that the policy fills, given the log's items above it; one "
            "place at a time is changed, so what whole pages of this policy would do is not in it.",
            "The truth is of the same decisions, by the world's own probabilities.",
        ]
    else:
        notes = [
            f"Value: the mean {asked['reward']} of a row whose item the policy chooses among all items of the log; the "
            "log's propensity is taken for the chance of the shown item."
        ]
    if support.weak:
        notes.append(f"Weak: {support.weak}. Read the estimates as hints.")
    if found.left_out:
        notes.append(f"{found.left_out:,} places were filled without a draw and are left out: they have no chance.")
    if asked["clip"] is not None:
        notes.append(f"Weights are cut at {asked['clip']:g}: less variance, and a bias towards a lower value.")
    if asked["split"] == "validation":
        notes.append("Calibration was fitted on this split: the reward model is not wholly independent of it.")
    if any(one.estimator in MODEL_TRUSTING for one in estimates):
        notes.append(
            "dm is as wrong as the run's probabilities, and switch_dr and shrunk_dr go over to them where weights are "
            "large: their intervals tell of the rows, not of the model."
        )
    return notes


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
