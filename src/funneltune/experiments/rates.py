"""Learning-rate trials: each cell of a study at a few rates, the best on validation chosen for all of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from funneltune.experiments.plan import Cell, Study
from funneltune.experiments.state import StudyState
from funneltune.metrics.comparison import higher_is_better

if TYPE_CHECKING:
    from funneltune.experiments.sweep import Composed


@dataclass(frozen=True)
class Choice:
    """What a cell's trials found."""

    key: str
    scores: Mapping[float, float | None]
    """Value tried -> the metric on validation; None where the trial failed."""
    chosen: float | None
    """None where none finished."""

    @property
    def setting(self) -> dict[str, float]:
        """The chosen value as an override; empty where there is none."""
        return {} if self.chosen is None else {self.key: self.chosen}

    @property
    def at_edge(self) -> bool:
        """Whether the best is the smallest or the largest that was tried: one beyond might be better."""
        return len(self.scores) > 1 and self.chosen in (min(self.scores), max(self.scores))

    def to_json(self) -> dict[str, Any]:
        """For study.json."""
        tried = [{"value": value, "score": score} for value, score in self.scores.items()]
        return {"key": self.key, "chosen": self.chosen, "at_edge": self.at_edge, "tried": tried}


def trials_of(study: Study, composed: Sequence[Composed]) -> dict[str, list[Cell]]:
    """The trials of each cell, at the study's first seed (and fold); none where the study tunes nothing."""
    if study.tune is None:
        return {}
    found: dict[str, list[Cell]] = {}
    for made in composed:
        if made.cell.name not in found:
            key, values = study.tune.candidates(made.cfg)
            found[made.cell.name] = made.cell.trials(key, values, study.tune.overrides)
    return found


def choose(study: Study, composed: Sequence[Composed], state: StudyState) -> dict[str, Choice]:
    """The best rate of each cell by its finished trials; the smaller one of two that tie."""
    assert study.tune is not None
    metric = study.tune.metric.removeprefix("validation/")
    better = max if higher_is_better(metric) else min
    found = {}
    for name, trials in trials_of(study, composed).items():
        key, values = study.tune.candidates(next(made.cfg for made in composed if made.cell.name == name))
        scores: dict[float, float | None] = {}
        for value, trial in zip(values, trials, strict=True):
            record = state.record_of(trial)
            done = record is not None and record.status == "finished"
            scores[value] = record.value(metric, "validation") if record is not None and done else None
        finished = {value: score for value, score in scores.items() if score is not None}
        found[name] = Choice(key, scores, better(finished, key=finished.__getitem__) if finished else None)
    return found
