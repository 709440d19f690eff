"""Which rows, labels and probabilities a metric is about: each task in its observed space and over the entire space."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from funneltune.errors import DataError
from funneltune.funnel import Edge, Task, TaskFunnel
from funneltune.metrics.ties import Floats, Indices, checked_labels, checked_probabilities, checked_scores

Columns = Mapping[str, NDArray]
"""A split of a log: one array per column, all of the same rows."""
Prefix = Literal["p_", "oracle_p_"]


Scorer = Floats | Mapping[str, Floats]
"""A baseline's score of each row: one for all rates, or one per rate by its column stem."""


@dataclass(frozen=True)
class Space:
    """One rate on the rows where its label is observed."""

    rate: str
    task: Task
    rows: Indices
    """Row numbers that count."""
    label: Floats
    """0 or 1 per counted row."""
    stem: str
    """Column stem of the probability: `click`, `purchase_given_click`, `click_and_purchase`."""
    joint: bool
    """Whether the label is the task together with all its edges, on all rows. True for a task without edges."""
    name: str
    """What the rows are, in words: `all impressions`, `rows where click`."""

    @property
    def entire(self) -> str:
        """What the rate is called where it is measured on all impressions, observed or not: `cvr_entire`."""
        return self.rate if self.joint else f"{self.rate}_entire"


def column(columns: Columns, name: str) -> NDArray:
    """A column. Raises DataError, with the nearest name, where it is missing."""
    if name not in columns:
        near = difflib.get_close_matches(name, list(columns), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(columns)) or 'none'}."
        raise DataError(f"metrics: column {name!r} is missing{hint}")
    return np.asarray(columns[name])


def same_rows(columns: Columns, scores: Mapping[str, Scorer] | None = None) -> None:
    """Raises DataError where columns, or baselines' scores, differ in length: the longer would be cut silently."""
    lengths = {name: len(np.atleast_1d(values)) for name, values in columns.items()}
    for name, score in (scores or {}).items():
        parts = score.items() if isinstance(score, Mapping) else [("", score)]
        lengths |= {f"{name}{f'[{stem}]' if stem else ''}": len(np.atleast_1d(part)) for stem, part in parts}
    wanted = max(lengths.values(), key=list(lengths.values()).count, default=0)
    odd = next((name for name, length in lengths.items() if length != wanted), None)
    if odd is not None:
        raise DataError(
            f"metrics: columns differ in length: {odd} has {lengths[odd]} rows but the log has {wanted}; pass every "
            "row of it, in order."
        )


def labels_of(columns: Columns, funnel: TaskFunnel) -> dict[str, Floats]:
    """Every binary task's label column, checked."""
    return {task.name: checked_labels(column(columns, task.name), task.name) for task in funnel.binary}


def observed_rows(columns: Columns, funnel: TaskFunnel, task: Task) -> tuple[Indices, str]:
    """The rows where a task is observed, and what they are in words."""
    labels = {edge.name: checked_labels(column(columns, edge.name), edge.name) for edge in funnel.way_to(task.name)}
    labels[task.name] = column(columns, task.name)
    rows = np.flatnonzero(funnel.observed(labels, task.name)).astype(np.int64)
    if task.next:
        return rows, f"impressions of requests with a later {funnel.binary[-1].name} of the shopper in the same split"
    return rows, _in_words(funnel.way_to(task.name))


def _in_words(way: tuple[Edge, ...]) -> str:
    spelt = " and ".join(("" if edge.holds else "no ") + edge.name for edge in way)
    return f"rows where {spelt}" if way else "all impressions"


def spaces(columns: Columns, funnel: TaskFunnel) -> list[Space]:
    """Every rate of a funnel's binary tasks: p(task | edges) on observed rows, and p(task and edges) on all rows where
    they differ.
    """
    labels = labels_of(columns, funnel)
    if not labels:
        return []
    same_rows(columns)
    everything = np.arange(len(next(iter(labels.values()))), dtype=np.int64)
    found = []
    for task in funnel.binary:
        observed = np.flatnonzero(funnel.observed(labels, task.name)).astype(np.int64)
        way = funnel.way_to(task.name)
        found.append(
            Space(
                rate=task.rate,
                task=task,
                rows=observed if way else everything,
                label=labels[task.name][observed] if way else labels[task.name],
                stem=task.conditional,
                joint=not way,
                name=_in_words(way),
            )
        )
        if way:
            joint = np.zeros(len(everything))
            joint[observed] = labels[task.name][observed]
            found.append(Space(task.joint_rate, task, everything, joint, task.joint, True, "all impressions"))
    return found


def conditional(columns: Columns, task: Task, prefix: Prefix = "p_") -> Floats:
    """p(task | edges) of every row."""
    name = f"{prefix}{task.conditional}"
    return checked_probabilities(column(columns, name), name)


def joint(columns: Columns, funnel: TaskFunnel, task: Task, prefix: Prefix = "p_") -> Floats:
    """p(task and all its edges) of every row: its column where there is one, else the product along the way."""
    name = f"{prefix}{task.joint}"
    if name in columns:
        return checked_probabilities(column(columns, name), name)
    p = conditional(columns, task, prefix)
    for edge in funnel.way_to(task.name):
        q = conditional(columns, funnel[edge.name], prefix)
        p = p * (q if edge.holds else 1.0 - q)
    return p


def probability(columns: Columns, funnel: TaskFunnel, space: Space, prefix: Prefix = "p_") -> Floats:
    """The probability that a space's label is about, on every row of the log."""
    return joint(columns, funnel, space.task, prefix) if space.joint else conditional(columns, space.task, prefix)


def has_lists(columns: Columns) -> bool:
    """Whether any request shows several items: else there is nothing to rank."""
    request = column(columns, "request")
    return len(np.unique(request)) < len(request)


def clusters_of(columns: Columns) -> str:
    """The column whose rows depend on one another: requests, or shoppers where each request is a single row."""
    return "request" if has_lists(columns) or len(np.unique(columns.get("user", np.zeros(1)))) < 2 else "user"


def score_of(scorer: Scorer, space: Space, name: str = "score") -> Floats:
    """A baseline's score for one rate, checked; `name` is what a message calls it."""
    return checked_scores(_part(scorer, space.stem, name) if isinstance(scorer, Mapping) else scorer, name)


def overall_score(scorer: Scorer, funnel: TaskFunnel) -> Floats:
    """What a baseline ranks graded lists by: its score, or the sum of its joint probabilities."""
    if isinstance(scorer, Mapping):
        parts = [checked_scores(_part(scorer, task.joint, "score"), "score") for task in funnel.binary]
        return np.asarray(sum(parts), dtype=np.float64)
    return checked_scores(scorer)


def _part(scorer: Mapping[str, Floats], stem: str, name: str) -> Floats:
    if stem not in scorer:
        raise DataError(f"metrics: {name} has nothing for {stem!r}; it has {', '.join(scorer) or 'nothing'}.")
    return scorer[stem]


def has_oracle(columns: Columns, funnel: TaskFunnel, task: Task) -> bool:
    """Whether the true probability of a task, and of everything on the way to it, is in the log."""
    names = [task.name, *(edge.name for edge in funnel.way_to(task.name))]
    return all(f"oracle_p_{funnel[name].conditional}" in columns for name in names)


def ranking_score(columns: Columns, funnel: TaskFunnel) -> Floats:
    """The number of the funnel's events expected of a row: the sum of all joint probabilities.

    With tasks that are rungs of one graded judgment this is the expected grade, up to its scale. A funnel without a
    binary task ranks by its first task's expected level or value.
    """
    if funnel.binary:
        return np.asarray(sum(joint(columns, funnel, task) for task in funnel.binary), dtype=np.float64)
    parts = [np.asarray(column(columns, name), dtype=np.float64) for name in funnel.tasks[0].predicted]
    if not funnel.tasks[0].has_levels:
        return parts[0]
    return np.asarray(sum(level * part for level, part in enumerate(parts)), dtype=np.float64)
