"""Who acts because of a treatment: learners fitted on training people, judged on those held out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.scorer import Scorer
from funneltune.decisions.uplift.learners import Reduced, fitted
from funneltune.decisions.uplift.people import People, outcomes_of, require_both, treatment_of
from funneltune.decisions.uplift.settings import Settings
from funneltune.errors import ConfigError, DataError
from funneltune.metrics.ties import Floats
from funneltune.metrics.uplift import (
    Group,
    RankedTrial,
    calibration,
    draws_of,
    ends,
    policy_values,
    qini_curve,
    standardised_differences,
    uplift_at,
    uplift_curve,
)

SHARES = (0.1, 0.2, 0.3, 0.5)
"""Of the people, who are treated first: uplift@10%, ..."""
FEWEST = 30
"""People of an arm in the training, and in the test rows."""
UNEVEN, UNLIKE = 0.1, 0.25
"""Standardised mean differences from which a covariate is told, and the study refused (Austin 2009; Stuart 2010)."""
CHANCE = 4.0
"""Standard errors that a difference must reach, too: small arms differ by chance."""
RESPONSE = "response"
RUN = "s"


@dataclass(frozen=True)
class Estimate:
    """A value with the middle 95% of its bootstrap."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Judged:
    """One ranking of the test people."""

    score: Floats
    measures: dict[str, Estimate]
    """qini, auuc, uplift@10%, ..."""
    over_response: dict[str, Estimate]
    over_random: dict[str, Estimate]
    curve: tuple[Floats, Floats, Floats, Floats]
    """Share treated, gained, and the ends of its 95% band."""
    deciles: list[Group] = field(default_factory=list)
    policy: dict[str, Estimate] = field(default_factory=dict)
    """Money per person, over treating everyone and nobody; the share that is treated."""


@dataclass(frozen=True)
class Arm:
    """One treatment against the control."""

    name: str
    rows: NDArray[np.int64]
    treated: NDArray[np.int64]
    people: dict[str, int]
    effect: Estimate
    """The difference of the arms' means on the test people."""
    base_rate: float
    judged: dict[str, Judged]
    balance: list[tuple[str, float]]
    """Covariates with the largest standardised differences."""


@dataclass(frozen=True)
class Studied:
    """All arms."""

    treatment: str
    control: str
    outcome: str
    settings: Settings
    arms: list[Arm]
    keys: People
    reads_treatment: bool


def study(scorer: Scorer, settings: Settings) -> Studied:
    """Fit on the run's training and validation people, judge on its test people, arm by arm.

    Raises:
        ConfigError: if the log has no such treatment, or the run no such outcome.
        DataError: if an arm is next to empty, or people differ between arms as they would not by chance.
    """
    treatment = treatment_of(scorer, settings.treatment, settings.control)
    outcome, rate, happened = outcomes_of(scorer, settings.outcome)
    others = [value for value in treatment.values if value != treatment.control]
    if settings.arm and settings.arm not in others:
        raise ConfigError(f"arm={settings.arm} must be one of {', '.join(others)}, the values of {treatment.name}.")
    people = People(scorer, treatment)
    reads = treatment.is_item or bool(treatment.columns)
    train, test = people.rows("train", "validation"), people.rows("test")
    place = {value: n for n, value in enumerate(treatment.values)}
    wanted = [settings.arm] if settings.arm else others
    codes = treatment.arm_of_row
    for name in wanted:
        for rows, where in ((train, "training"), (test, "test")):
            both = rows[np.isin(codes[rows], (place[name], place[treatment.control]))]
            require_both(both, (codes[both] == place[name]).astype(np.int64), name, where, FEWEST)
    members = [place[name] for name in (*wanted, treatment.control)]
    train, test = (rows[np.isin(codes[rows], members)] for rows in (train, test))
    seen = people.seen(train, treatment.control, rate)[0], *people.seen(test, treatment.control, rate)
    reduced = Reduced(seen[0], settings.seed)
    x_train, x_test = reduced(seen[0]), reduced(seen[1])
    names, covariates = people.covariates(np.r_[train, test])
    names = [*names, *(f"component {n + 1} of what the run reads" for n in range(x_train.shape[1]))]
    covariates = np.concatenate([covariates, np.concatenate([x_train, x_test])], axis=1)
    arms = []
    for name in wanted:
        pair = (place[name], place[treatment.control])
        of_train, of_test = (np.isin(codes[rows], pair) for rows in (train, test))
        mine = np.r_[train, test][np.r_[of_train, of_test]]
        t = (codes[mine] == place[name]).astype(np.int64)
        balance = _balance(names, covariates[np.r_[of_train, of_test]], t, name)
        rows = test[of_test]
        t_train, t_test = t[: int(of_train.sum())], t[int(of_train.sum()) :]
        y_train, y_test = happened[train[of_train]], happened[rows]
        if not y_train.any() or y_train.all():
            raise DataError(f"outcome={outcome} is the same for everyone in the training rows; nothing can be learnt.")
        scores = {
            one: np.asarray(
                fitted(one, y_train, t_train, x_train[of_train], settings.base, settings.seed).effect(x_test[of_test]),
                dtype=np.float64,
            ).ravel()
            for one in settings.learners
        }
        response = seen[2][of_test]
        if reads:
            response = people.seen(rows, name, rate)[1]
            scores[RUN] = response - seen[2][of_test]
        share = float(t.mean())
        judged, effect = _judged({**scores, RESPONSE: response}, y_test, t_test, people.clusters(rows), share, settings)
        counts = {
            "training, treated": int(t_train.sum()),
            "training, control": int(len(t_train) - t_train.sum()),
            "test, treated": int(t_test.sum()),
            "test, control": int(len(t_test) - t_test.sum()),
            "test, outcomes": int(y_test.sum()),
        }
        arms.append(Arm(name, rows, t_test, counts, effect, float(y_test[t_test == 0].mean()), judged, balance))
    return Studied(treatment.name, treatment.control, outcome, settings, arms, people, reads)


def _balance(names: list[str], covariates: Floats, treated: NDArray[np.int64], arm: str) -> list[tuple[str, float]]:
    """The ten covariates that differ most between the arms.

    Raises:
        DataError: if one differs too much for a random draw.
    """
    apart = standardised_differences(covariates, treated)
    order = np.argsort(-apart)
    by_chance = CHANCE * np.sqrt(1 / treated.sum() + 1 / (len(treated) - treated.sum()))
    if len(order) and apart[order[0]] > max(UNLIKE, by_chance):
        raise DataError(
            f"arm={arm} was not drawn at random: {names[order[0]]} differs from the control's by "
            f"{apart[order[0]]:.2g} standard deviations (at most {max(UNLIKE, by_chance):.2g}); use a randomised log."
        )
    return [(names[n], float(apart[n])) for n in order[:10]]


def _judged(
    scores: dict[str, Floats],
    outcome: Floats,
    treated: NDArray[np.int64],
    cluster: NDArray[np.int64],
    p_treated: float,
    settings: Settings,
) -> tuple[dict[str, Judged], Estimate]:
    """Every ranking under the same draws of people."""
    weights = draws_of(cluster, settings.draws, settings.seed)
    trials = {name: RankedTrial(outcome, treated, score) for name, score in scores.items()}
    grid = np.linspace(0, 1, 41)
    drawn: dict[str, dict[str, Floats]] = {}
    bands: dict[str, NDArray[np.float64]] = {}
    for name, trial in trials.items():
        rows = [_measures(trial.totals(weight), grid) for weight in weights]
        drawn[name] = {key: np.array([row[0][key] for row in rows]) for key in rows[0][0]}
        bands[name] = np.stack([row[1] for row in rows])
    found = {}
    for name, trial in trials.items():
        own, line = _measures(trial.totals(), grid)
        response = _measures(trials[RESPONSE].totals(), grid)[0]
        keys = [key for key in own if key != "effect"]
        found[name] = Judged(
            score=scores[name],
            measures={key: Estimate(own[key], *ends(drawn[name][key])) for key in keys},
            over_response={
                key: Estimate(own[key] - response[key], *ends(drawn[name][key] - drawn[RESPONSE][key])) for key in keys
            },
            over_random={
                key: Estimate(
                    own[key] - _random(key, own["effect"]),
                    *ends(drawn[name][key] - _random(key, drawn[name]["effect"])),
                )
                for key in keys
            },
            curve=(grid, line, *np.quantile(bands[name], (0.025, 0.975), axis=0)),
            deciles=calibration(outcome, treated, scores[name]) if name != RESPONSE else [],
            policy=_policy(scores[name], outcome, treated, p_treated, weights, settings) if name != RESPONSE else {},
        )
    whole = next(iter(trials))
    effect = _measures(trials[whole].totals(), grid)[0]["effect"]
    return found, Estimate(effect, *ends(drawn[whole]["effect"]))


def _random(key: str, effect: Any) -> Any:
    """What treating at random has of a measure."""
    return effect if key.startswith("uplift@") else effect / 2 if key == "auuc" else 0.0 * effect


def _measures(totals: NDArray[np.float64], grid: Floats) -> tuple[dict[str, float], Floats]:
    curve = qini_curve(totals)
    found = {"qini": curve.above_random, "auuc": uplift_curve(totals).area}
    found |= {f"uplift@{share:.0%}": uplift_at(totals, share) for share in SHARES}
    found["effect"] = uplift_at(totals, 1.0)
    return found, np.interp(grid, curve.share, curve.gained)


def _policy(
    score: Floats,
    outcome: Floats,
    treated: NDArray[np.int64],
    p_treated: float,
    weights: NDArray[np.float64],
    settings: Settings,
) -> dict[str, Estimate]:
    """Treat whom the predicted uplift pays for: money per person, and over treating everyone or nobody."""
    treat = score * settings.margin > settings.cost
    terms = {
        name: policy_values(outcome, treated, chosen, p_treated, settings.margin, settings.cost)
        for name, chosen in (("own", treat), ("everyone", np.ones_like(treat)), ("nobody", np.zeros_like(treat)))
    }
    told = {
        "value": terms["own"],
        "over everyone": terms["own"] - terms["everyone"],
        "over nobody": terms["own"] - terms["nobody"],
        "everyone over nobody": terms["everyone"] - terms["nobody"],
        "treated": treat.astype(np.float64),
    }
    size = weights.sum(axis=1)
    return {name: Estimate(float(rows.mean()), *ends(weights @ rows / size)) for name, rows in told.items()}
