"""What an assistant came to, as numbers, tables, notes, a picture and the answers themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from funneltune.decisions.assist.answering import Answered
from funneltune.decisions.assist.passages import Passages
from funneltune.decisions.assist.study import Judged, Studied
from funneltune.files import whole_file
from funneltune.metrics.intervals import clustered_mean
from funneltune.metrics.selective import risk_coverage
from funneltune.records import DecisionRecord
from funneltune.reporting.figures.drawing import INK, SERIES, STYLE
from funneltune.runs.identity import git_commit, versions

PICTURE, TABLE = "assist.png", "answers.csv"
SHOWN = 12


def record_of(studied: Studied, passages: Passages, run: str, settings: Mapping[str, Any]) -> DecisionRecord:
    """Everything but the picture and the answers."""
    return DecisionRecord(
        verb="assist",
        run=run,
        settings=dict(settings),
        numbers=_numbers(studied),
        tables={"ways": _ways(studied), "intents": _intents(_own(studied)), "answers": _examples(studied, passages)},
        figures=[PICTURE],
        notes=_notes(studied, settings),
        git_commit=git_commit(),
        versions=versions(),
    )


def write(record: DecisionRecord, studied: Studied, passages: Passages, folder: Path) -> None:
    """Record, picture and the judged answers, into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(studied, float(record.settings["precision"])).savefig(folder / PICTURE, dpi=150)
    own = _own(studied)
    table = answers_table(own.answers, passages).assign(right=own.right.astype(int))
    with whole_file(folder / TABLE) as part:
        table.to_csv(part, index=False)
    record.write(folder)


def answers_table(answers: Sequence[Answered], passages: Passages) -> pd.DataFrame:
    """A row per question: its intent, whether it is answered, how surely, the first passage and where it stands."""
    first = [int(one.numbers[0]) for one in answers]
    return pd.DataFrame(
        {
            "question": [one.question for one in answers],
            "intent": [one.intent for one in answers],
            "answered": [int(one.answered) for one in answers],
            "confidence": [one.confidence for one in answers],
            "source": [passages.keys[number] for number in first],
            "passage": [passages.texts[number] for number in first],
            "about": [passages.texts[passages.items[number]] for number in first],
        }
    )


def _own(studied: Studied) -> Judged:
    return studied.judged[studied.assistant.finder.way]


def _ways(studied: Studied) -> dict[str, Any]:
    rows = []
    for way, judged in studied.judged.items():
        answered, there = judged.answered, judged.answerable
        rows.append(
            [
                way,
                _mean(judged.right[there]),
                _mean(judged.among[there]),
                studied.thresholds[way].value,
                _mean(answered),
                _mean(judged.right[answered]),
                _mean(answered[~there]),
            ]
        )
    columns = [
        *("found_by", "first_answers", "a_shown_one_answers", "threshold", "answered", "of_these_right"),
        "answered_without_an_answer",
    ]
    return {"columns": columns, "rows": rows}


def _intents(judged: Judged) -> dict[str, Any]:
    names = np.array([one.intent for one in judged.questions])
    told = np.array([one.intent for one in judged.answers])
    rows = []
    for name in sorted(set(names)):
        mine = names == name
        answered = mine & judged.answered
        rows.append(
            [
                name or "-",
                int(mine.sum()),
                _mean(told[mine] == name) if name else None,
                _mean(judged.answerable[mine]),
                _mean(judged.answered[mine]),
                _mean(judged.right[answered]),
            ]
        )
    columns = ["intent", "questions", "recognised", "have_an_answer", "answered", "of_these_right"]
    return {"columns": columns, "rows": rows}


def _examples(studied: Studied, passages: Passages) -> dict[str, Any]:
    own = _own(studied)
    table = answers_table(own.answers, passages).assign(right=own.right)
    shown = table.sort_values("confidence", ascending=False, kind="stable").iloc[:: max(1, len(table) // SHOWN)]
    rows = [
        [
            *(row.question, row.intent, "yes" if row.answered else "no answer", row.confidence, row.source),
            *(row.passage, "right" if row.right else "wrong"),
        ]
        for row in shown.itertuples()
    ]
    columns = ["question", "intent", "answered", "confidence", "source", "passage", "first_passage"]
    return {"columns": columns, "rows": rows[:SHOWN]}


def _numbers(studied: Studied) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for way, judged in studied.judged.items():
        there, answered = judged.answerable, judged.answered
        found[f"{way}/first_answers"] = _share(judged.right[there], "of held-out questions that have an answer")
        found[f"{way}/answered"] = _share(answered, "of held-out questions")
        if answered.any():
            found[f"{way}/of_these_right"] = _share(judged.right[answered], "of held-out questions that are answered")
        if (~there).any():
            found[f"{way}/answered_without_an_answer"] = _share(answered[~there], "of those that nothing answers")
    own = _own(studied)
    if all(one.intent for one in own.questions) and studied.assistant.intents is not None:
        known = np.array([one.intent == said.intent for one, said in zip(own.questions, own.answers, strict=True)])
        found["intent_recognised"] = _share(known, "of held-out questions")
    return found


def _share(values: NDArray[np.bool_], protocol: str) -> dict[str, Any]:
    if not len(values):
        return {"value": None, "low": None, "high": None, "protocol": protocol}
    mean = clustered_mean(values.astype(np.float64), np.arange(len(values)))
    told = f"{protocol}; {len(values):,} questions"
    return {"value": mean.estimate, "low": max(mean.low, 0.0), "high": min(mean.high, 1.0), "protocol": told}


def _mean(values: NDArray[Any]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _notes(studied: Studied, settings: Mapping[str, Any]) -> list[str]:
    own, threshold = _own(studied), studied.assistant.threshold
    wanted, assurance = settings["precision"], settings["assurance"]
    if np.isinf(threshold.value):
        promise = (
            f"No threshold promises that {wanted:.0%} of the answers are right: it answers nothing. Ask for less "
            "(precision=), or give more questions and passages."
        )
    else:
        promise = (
            f"It answers {own.answered.mean():.0%} of held-out questions, and {own.right[own.answered].mean():.0%} of "
            f"these answers are right; {wanted:.0%} were asked for, promised at {assurance:.0%} from "
            f"{threshold.answered} answers with {threshold.errors} errors."
            if own.answered.any()
            else "It answers none of the held-out questions."
        )
    return [
        promise,
        "An answer is a passage with its source; nothing is made up. Right means that the labels name it: a passage "
        "that answers and was not labelled counts as wrong.",
        "The promise holds for questions like the labelled ones; others (new goods, a new language) need new labels.",
    ]


def picture(studied: Studied, precision: float) -> Figure:
    """Share of wrong answers against the share of questions that are answered."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for number, (way, judged) in enumerate(studied.judged.items()):
            coverage, risk = risk_coverage(judged.confidence, judged.right)
            order = np.argsort(coverage, kind="stable")
            axes.plot(coverage[order], risk[order], color=SERIES[number], label=way)
            if judged.answered.any():
                at = (judged.answered.mean(), 1 - judged.right[judged.answered].mean())
                axes.plot(*at, marker="o", color=SERIES[number], markersize=6)
        axes.axhline(1 - precision, color=INK, linewidth=0.8, linestyle="--", label="allowed")
        axes.set_xlabel("share of questions answered, the surest first (dot: the threshold)")
        axes.set_ylabel("share of answers that are wrong")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8)
    return figure
