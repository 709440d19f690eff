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
    """Value tried -> the metric on validation, a mean over seeds; None where a trial failed."""
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


def trials_of(study: Study, composed: Sequence[Composed]) -> list[Cell]:
    """The trials of each cell, at the study's first seeds (and first fold); none where the study tunes nothing."""
    return [trial for _, tried in _tried(study, composed).values() for several in tried.values() for trial in several]


def choose(study: Study, composed: Sequence[Composed], state: StudyState) -> dict[str, Choice]:
    """The best rate of each cell by the mean over its seeds, of those that finished with every seed; the smaller one of
    two that tie.
    """
    assert study.tune is not None
    metric = study.tune.metric.removeprefix("validation/")
    better = max if higher_is_better(metric) else min
    found = {}
    for name, (key, tried) in _tried(study, composed).items():
        scores = {value: _mean([_score(trial, metric, state) for trial in several]) for value, several in tried.items()}
        finished = {value: score for value, score in scores.items() if score is not None}
        found[name] = Choice(key, scores, better(finished, key=finished.__getitem__) if finished else None)
    return found


def _tried(study: Study, composed: Sequence[Composed]) -> dict[str, tuple[str, dict[float, list[Cell]]]]:
    """Cell -> the key that is tried, and value -> its trials."""
    found: dict[str, tuple[str, dict[float, list[Cell]]]] = {}
    if study.tune is None:
        return found
    seeds = study.seeds[: study.tune.seeds]
    for made in composed:
        if made.cell.seed in seeds and not made.cell.fold:
            key, values = study.tune.candidates(made.cfg)
            tried = found.setdefault(made.cell.name, (key, {value: [] for value in values}))[1]
            for value, trial in zip(values, made.cell.trials(key, values, study.tune.overrides), strict=True):
                tried[value].append(trial)
    return found


def _score(trial: Cell, metric: str, state: StudyState) -> float | None:
    record = state.record_of(trial)
    return record.value(metric, "validation") if record is not None and record.status == "finished" else None


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if len(known) == len(scores) else None
