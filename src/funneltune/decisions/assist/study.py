"""An assistant that is learnt, calibrated and judged on questions whose answers are known.

Legend: n questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funneltune.decisions.assist.answering import (
    WAYS,
    Answered,
    Assistant,
    Confidence,
    Finder,
    Intents,
    evidence_of,
)
from funneltune.decisions.assist.labelled import Labelled, parts_of
from funneltune.decisions.assist.passages import Passages
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError
from funneltune.metrics.selective import Threshold, threshold_for


@dataclass(frozen=True)
class Judged:
    """What became of the questions that were kept for the end."""

    questions: list[Labelled]
    answers: list[Answered]
    right: NDArray[np.bool_]
    """(n,) whether the first passage answers."""
    among: NDArray[np.bool_]
    """(n,) whether one of the shown passages answers."""

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(n,)."""
        return np.array([one.answered for one in self.answers])

    @property
    def answerable(self) -> NDArray[np.bool_]:
        """(n,) whether there is an answer at all."""
        return np.array([bool(one.answers) for one in self.questions])

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(n,)."""
        return np.array([one.confidence for one in self.answers])


@dataclass(frozen=True)
class Studied:
    """An assistant, and each way of finding judged with a threshold of its own."""

    assistant: Assistant
    judged: dict[str, Judged]
    thresholds: dict[str, Threshold]


def uncalibrated(scorer: Scorer, passages: Passages, way: str) -> Assistant:
    """One that always answers, for want of questions to learn from."""
    return Assistant(Finder(scorer, passages, way), Threshold(-math.inf, 0, 0, 1.0))


def study(
    scorer: Scorer,
    passages: Passages,
    labelled: Sequence[Labelled],
    *,
    way: str = "hybrid",
    beside: bool = True,
    precision: float = 0.9,
    assurance: float = 0.95,
    top: int = 3,
    seed: int = 0,
) -> Studied:
    """Learn intents and confidence on 40% of the questions, set the threshold on 30%, judge on 30%.

    Args:
        scorer: The run.
        passages: What is searched.
        labelled: Questions with their answers.
        way: The assistant's.
        beside: Judge the others of `WAYS` beside it.
        precision: Share of answers that must be right.
        assurance: Chance with which that holds, over the draw of the questions that set the threshold.
        top: Passages that are shown.
        seed: Of the parts.

    Raises:
        ConfigError: if `way` is none of `WAYS`.
    """
    if way not in WAYS:
        raise ConfigError(f"way={way} must be one of {', '.join(WAYS)}.")
    parts = {name: [labelled[row] for row in rows] for name, rows in parts_of(len(labelled), seed).items()}
    assistants: dict[str, Assistant] = {}
    judged: dict[str, Judged] = {}
    finder = Finder(scorer, passages, way)
    for name in (way, *(other for other in WAYS if beside and other != way)):
        assistants[name] = _learnt(finder.by(name), parts, precision, assurance)
        answers = assistants[name].answer([one.text for one in parts["test"]], top)
        hits = [
            [question.right(passages, int(number)) for number in one.numbers]
            for one, question in zip(answers, parts["test"], strict=True)
        ]
        judged[name] = Judged(
            parts["test"],
            answers,
            np.array([one[0] for one in hits]),
            np.array([any(one) for one in hits]),
        )
    return Studied(assistants[way], judged, {name: one.threshold for name, one in assistants.items()})


def _learnt(finder: Finder, parts: dict[str, list[Labelled]], precision: float, assurance: float) -> Assistant:
    fit, calibrate = parts["fit"], parts["calibrate"]
    found, vectors = finder.find([one.text for one in fit])
    intents = Intents(vectors, [one.intent for one in fit]) if all(one.intent for one in fit) else None
    right = [
        question.right(finder.passages, int(number))
        for one, question in zip(found, fit, strict=True)
        for number in one.numbers
    ]
    confidence = Confidence(evidence_of(found, intents, vectors), np.array(right))
    unheld = Assistant(finder, Threshold(-math.inf, 0, 0, 1.0), intents, confidence)
    answers = unheld.answer([one.text for one in calibrate], 1)
    correct = [
        question.right(finder.passages, int(one.numbers[0])) for one, question in zip(answers, calibrate, strict=True)
    ]
    threshold = threshold_for([one.confidence for one in answers], correct, precision, assurance)
    return Assistant(finder, threshold, intents, confidence)
