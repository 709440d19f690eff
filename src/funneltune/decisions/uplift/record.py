"""What an uplift study came to, as numbers, tables, notes, a file of people and a picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from funneltune.decisions.uplift.picture import picture
from funneltune.decisions.uplift.study import RESPONSE, RUN, UNEVEN, Arm, Estimate, Studied
from funneltune.records import DecisionRecord
from funneltune.runs.identity import git_commit, versions

PICTURE, PEOPLE = "uplift.png", "uplift.csv"
NAMES = {"t": "T-learner", "x": "X-learner", "dr": "DR-learner", RUN: "the run (S-learner)", RESPONSE: "response"}
TOLD = ("qini", "auuc", "uplift@10%", "uplift@20%", "uplift@30%", "uplift@50%")
FEW = 100
"""Outcomes in the test rows, below which a note says so."""


def record_of(studied: Studied, run: str) -> DecisionRecord:
    """Everything but the files."""
    return DecisionRecord(
        verb="uplift",
        run=run,
        settings={**dataclasses.asdict(studied.settings), "treatment": studied.treatment, "control": studied.control}
        | {"outcome": studied.outcome},
        numbers=_numbers(studied),
        tables={
            "arms": _arms(studied),
            "rankings": _rankings(studied),
            "differences": _differences(studied),
            "policy": _policy(studied),
            "deciles": _deciles(studied),
            "balance": _balance(studied),
        },
        figures=[PICTURE],
        notes=notes_of(studied),
        git_commit=git_commit(),
        versions=versions(),
    )


def write(record: DecisionRecord, studied: Studied, folder: Path) -> None:
    """The record, the picture, and a row per test person and arm."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(studied).savefig(folder / PICTURE, dpi=150)
    people_of(studied).to_csv(folder / PEOPLE, index=False, float_format="%.6g")
    record.write(folder)


def people_of(studied: Studied) -> pd.DataFrame:
    """Test people with the uplift that each learner predicts, and whether it pays to treat them."""
    parts = []
    for arm in studied.arms:
        own = {name: judged.score for name, judged in arm.judged.items() if name != RESPONSE}
        best = best_of(arm)
        pays = own[best] * studied.settings.margin > studied.settings.cost
        keys = [studied.keys.key(int(row)) for row in arm.rows]
        parts.append(pd.DataFrame({"person": keys, "arm": arm.name, **own, "chosen_by": best, "treat": pays}))
    return pd.concat(parts, ignore_index=True)


def best_of(arm: Arm) -> str:
    """The learner whose list is written: DR where it was fitted, else the first. Not the one that tested best."""
    return "dr" if "dr" in arm.judged else next(iter(arm.judged))


# --- tables --------------------------------------------------------------------------------------------------------


def _arms(studied: Studied) -> dict[str, Any]:
    rows = []
    for arm in studied.arms:
        e = arm.effect
        rows.append([arm.name, *arm.people.values(), arm.base_rate, e.value, e.low, e.high])
    people = list(studied.arms[0].people)
    return {"columns": ["arm", *people, "control's rate", "effect", "low", "high"], "rows": rows}


def _rankings(studied: Studied) -> dict[str, Any]:
    rows = [
        [arm.name, NAMES[name], *(part for key in TOLD for part in _parts(judged.measures[key]))]
        for arm in studied.arms
        for name, judged in arm.judged.items()
    ]
    cells = [f"{key}{end}" for key in TOLD for end in ("", " low", " high")]
    return {"columns": ["arm", "ranked by", *cells], "rows": rows}


def _differences(studied: Studied) -> dict[str, Any]:
    rows = [
        [arm.name, NAMES[name], against, key, *_parts(differences[key])]
        for arm in studied.arms
        for name, judged in arm.judged.items()
        for against, differences in (("random", judged.over_random), ("response", judged.over_response))
        if against != name
        for key in TOLD
    ]
    return {"columns": ["arm", "ranked by", "less", "measure", "difference", "low", "high"], "rows": rows}


def _policy(studied: Studied) -> dict[str, Any]:
    rows = [
        [arm.name, NAMES[name], key, *_parts(estimate)]
        for arm in studied.arms
        for name, judged in arm.judged.items()
        for key, estimate in judged.policy.items()
    ]
    return {"columns": ["arm", "treat by", "what", "per person", "low", "high"], "rows": rows}


def _deciles(studied: Studied) -> dict[str, Any]:
    rows = [
        [arm.name, NAMES[name], number, *dataclasses.astuple(group)]
        for arm in studied.arms
        for name, judged in arm.judged.items()
        for number, group in enumerate(judged.deciles, 1)
    ]
    return {"columns": ["arm", "learner", "decile", "people", "predicted", "observed", "low", "high"], "rows": rows}


def _balance(studied: Studied) -> dict[str, Any]:
    rows = [[arm.name, name, apart] for arm in studied.arms for name, apart in arm.balance]
    return {"columns": ["arm", "covariate", "standardised difference"], "rows": rows}


def _parts(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


# --- numbers and notes ---------------------------------------------------------------------------------------------


def _numbers(studied: Studied) -> dict[str, dict[str, Any]]:
    draws = studied.settings.draws
    told = f"test people of the run, {studied.outcome}; bootstrap of {draws} draws of people"
    found: dict[str, dict[str, Any]] = {}

    def put(name: str, estimate: Estimate, protocol: str) -> None:
        value, low, high = _parts(estimate)
        found[name] = {"value": value, "low": low, "high": high, "protocol": protocol}

    for arm in studied.arms:
        put(f"{arm.name}/effect", arm.effect, f"treated less control; {told}")
        for name, judged in arm.judged.items():
            for key in TOLD:
                put(f"{arm.name}/{name}/{key}", judged.measures[key], told)
            if name != RESPONSE:
                put(f"{arm.name}/{name}/qini over response", judged.over_response["qini"], f"paired; {told}")
                for key in ("value", "over everyone"):
                    put(f"{arm.name}/{name}/policy {key}", judged.policy[key], f"money per person, IPW; {told}")
    return found


def notes_of(studied: Studied) -> list[str]:
    """What to do, arm by arm, and what to beware of."""
    notes = []
    for arm in studied.arms:
        notes += [_effect(studied, arm), _targeting(arm), _money(studied, arm)]
        if arm.people["test, outcomes"] < FEW:
            notes.append(
                f"{arm.name}: {arm.people['test, outcomes']} test people had the outcome; differences between rankings "
                "cannot be told from chance unless they are very large."
            )
        uneven = [name for name, apart in arm.balance if apart > UNEVEN]
        if uneven:
            notes.append(f"{arm.name}: {', '.join(uneven[:3])} differ between the arms by more than {UNEVEN:g} SD.")
    if not studied.reads_treatment:
        notes.append("The run does not read the treatment: it has no what-if of its own (no S-learner).")
    notes.append(
        "Learners are fitted on the run's training and validation people and judged on its test people; intervals are "
        "over people, not over training anew. Propensities are the arms' shares: people must have been drawn at random."
    )
    return notes


def _effect(studied: Studied, arm: Arm) -> str:
    e = arm.effect
    told = f"{100 * e.value:+.2f} points ({100 * e.low:+.2f} to {100 * e.high:+.2f})"
    if e.low <= 0 <= e.high:
        return f"{arm.name}: {studied.outcome} changes by {told}: no effect on average can be told from chance."
    return f"{arm.name} changes {studied.outcome} by {told} on average, from {arm.base_rate:.2%}."


def _targeting(arm: Arm) -> str:
    name = best_of(arm)
    judged = arm.judged[name]
    qini, over = judged.measures["qini"], judged.over_response["qini"]
    told = f"{arm.name}, ranked by the {NAMES[name]}: Qini {qini.value:.4f} ({qini.low:.4f} to {qini.high:.4f})"
    if qini.low <= 0:
        return f"{told}: choosing whom to treat is not shown to beat choosing at random; treat by cost alone."
    better = "and beats" if over.low > 0 else "and does worse than" if over.high < 0 else "and is not told from"
    return f"{told}: it finds whom the treatment moves, {better} ranking by who is likely to act anyway."


def _money(studied: Studied, arm: Arm) -> str:
    policy = arm.judged[best_of(arm)].policy
    over, share = policy["over everyone"], policy["treated"].value
    told = f"at a cost of {studied.settings.cost:g} and a margin of {studied.settings.margin:g}"
    gain = f"{over.value:+.4f} per person ({over.low:+.4f} to {over.high:+.4f})"
    if np.isclose(share, 1.0):
        return f"{arm.name}, {told}: treat everyone; nobody's predicted uplift is below what it costs."
    if over.low > 0:
        return f"{arm.name}, {told}: treat the {share:.0%} for whom it pays; {gain} over treating everyone."
    if over.high < 0:
        return f"{arm.name}, {told}: treat everyone; choosing {share:.0%} loses: {gain}."
    return f"{arm.name}, {told}: treating the {share:.0%} for whom it pays is not told from treating everyone: {gain}."
