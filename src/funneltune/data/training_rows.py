"""What a training batch holds beyond an evaluation's: columns for the objective, late labels, rows drawn unequally."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from funneltune.data.collate import Collator
from funneltune.data.group_weights import EntityWeights
from funneltune.data.late_labels import LateLabels
from funneltune.data.row_sampling import RowSampling
from funneltune.data.sampling import Draw, Requests
from funneltune.data.store import LogStore
from funneltune.errors import ConfigError
from funneltune.schema import Batch, Delayed

Integers = NDArray[np.int64]
Counts = NDArray[np.float64]
Told = tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.bool_]]]


@dataclass(frozen=True)
class StepCounts:
    """What each request of the log adds to the denominators of its optimizer step."""

    rows: Counts
    observed: Mapping[str, Counts]
    known: Mapping[str, Counts]


@dataclass(frozen=True)
class TrainingRows:
    """Turns a draw of requests into a training batch.

    Args:
        collator: Makes the batch's texts and features.
        seed: With the draw's epoch, decides which rows are drawn.
        columns: Columns of the log that the objective asks for -> what asks for them.
        late: Labels as they stood when the log was read; None: all are final.
        delayed: What becomes of labels that are not final.
        sampling: How rows are drawn; None: each once.
        weights: What rows count by their group; None: alike.
    """

    collator: Collator
    seed: int
    columns: Mapping[str, str] = field(default_factory=dict)
    late: LateLabels | None = None
    delayed: Delayed = "drop"
    sampling: RowSampling | None = None
    weights: EntityWeights | None = None

    def __post_init__(self) -> None:
        """Look every column up once, so that a missing one is told before training.

        Raises:
            ConfigError: with each column that the log does not have, and what asks for it.
        """
        store = self.collator.store
        there = store.table("impressions").column_names
        if missing := [f"{asker} asks for {name!r}" for name, asker in self.columns.items() if name not in there]:
            raise ConfigError(
                f"{'; '.join(missing)}, and the log has no such column; it has {', '.join(there)}. Map it under "
                "data.source, or choose another value."
            )
        if self.delayed == "model":
            if self.late is None:
                raise ConfigError("objective.delayed=model: no task has a window; set data.tasks.TASK.window, or drop.")
            first = np.zeros(1, dtype=np.int64)
            self.late.columns(first, self.late.labels(first))

    def __call__(self, draw: Draw) -> Batch:
        """The draw's rows, in the draw's order, those that are drawn."""
        rows = draw.rows_by(self._store.rows_of)
        weight = None
        if self.sampling is not None:
            rows, weight = self.sampling.draw(rows, self.labels(rows), self._store.funnel, self.seed, draw.epoch)
        if self.weights is not None:
            own = self.weights.rows(self._store, rows).astype(np.float32)
            weight = own if weight is None else weight * own
        batch = self.collator.rows(rows, draw)
        labels = self.labels(rows)
        observed, known = self._masks(rows, labels)
        likelihood = self.sampling is not None and self.sampling.correction == "likelihood"
        return replace(
            batch,
            labels=_floats(labels),
            observed=_floats(observed),
            known=_floats(known),
            step_known=draw.step_known if known else {},
            columns=_floats(self._columns(rows, labels)),
            weight=None if weight is None else torch.from_numpy(weight),
            rates=self.sampling.rates if self.sampling is not None and likelihood else None,
        )

    def labels(self, rows: Integers) -> dict[str, NDArray[Any]]:
        """Labels as training is told them."""
        if self.late is not None:
            return self.late.labels(rows)
        return {name: self._store.column(name)[rows] for name in self._store.funnel.names}

    def told(self, rows: Integers) -> Told:
        """What training is told of rows: labels, and where each is of use (every edge on the way to it holds, and, if
        asked for, it is final).
        """
        labels = self.labels(rows)
        return labels, self._masks(rows, labels)[0]

    def counts(self, requests: Requests) -> StepCounts:
        """Of the training requests; zeros for all others. One pass over their rows, so many at a time."""
        store = self._store
        funnel, size = store.funnel, store.n_requests
        rows = np.zeros(size)
        observed = {name: np.zeros(size) for name in funnel.names}
        known: dict[str, Counts] = {}
        for part in store.row_parts(np.sort(requests)):
            request, labels = store.requests_of(part), self.labels(part)
            masks, final = self._masks(part, labels)
            weight = self.sampling.counted(labels, funnel) if self.sampling is not None else np.ones(len(part))
            if self.weights is not None:
                weight = weight * self.weights.rows(store, part)
            _add(rows, request, weight)
            for name, mask in masks.items():
                _add(observed[name], request, weight * mask)
            for name, mask in final.items():
                _add(known.setdefault(name, np.zeros(size)), request, weight * mask)
        store.release()
        return StepCounts(rows, observed, known)

    @property
    def _store(self) -> LogStore:
        return self.collator.store

    def _masks(
        self, rows: Integers, labels: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[np.bool_]], dict[str, NDArray[np.bool_]]]:
        """Where each task is observed, and where the labels of those that come late are known."""
        funnel = self._store.funnel
        observed = {name: funnel.observed(labels, name) for name in funnel.names}
        if self.late is None or self.delayed != "drop":
            return observed, {}
        known = self.late.final(rows)
        return observed | {name: observed[name] & final for name, final in known.items()}, known

    def _columns(self, rows: Integers, labels: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {name: self._store.column(name)[rows] for name in self.columns}
        if self.delayed == "model" and self.late is not None:
            found |= self.late.columns(rows, labels)
        return found


def _floats(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values.astype(np.float32)) for name, values in arrays.items()}


def _add(total: Counts, request: Integers, values: Counts) -> None:
    """Add values of rows to their requests', which are ascending."""
    first = int(request[0])
    found = np.bincount(request - first, weights=values)
    total[first : first + len(found)] += found
