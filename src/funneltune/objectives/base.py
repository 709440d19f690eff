"""What objectives share: masked means over the optimizer step, weights, and options that fit any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypedDict, Unpack, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.delays import delay_nll
from funneltune.objectives.events import resampled
from funneltune.objectives.examination import Examination
from funneltune.objectives.likelihoods import graded_nll
from funneltune.objectives.lists import ListTerm
from funneltune.objectives.rows import RowLoss
from funneltune.schema import (
    Batch,
    Delayed,
    HeadOutput,
    LogProbabilities,
    LossTerms,
    ObjectiveNeeds,
    Space,
    log_probabilities,
)


class Common(TypedDict, total=False):
    """Options of every objective."""

    weights: Mapping[str, float] | None
    """Weight per task, 1 where none is named."""
    rows: RowLoss | None
    """What a row costs; None: cross-entropy."""
    delayed: Delayed
    """What becomes of rows whose label may still come."""
    examination: str
    """How positions that are not looked at are allowed for (`Examination`)."""
    examination_floor: float
    """Least p(seen) that a click is divided by."""
    lists: ListTerm | None
    """A ranking term over each request; None: none."""


class Objective:
    """Logits and labels to one loss term per task.

    A subclass gives `event_terms`, the losses of the binary tasks; a task that is not binary has its own likelihood,
    always in the space where it is observed.

    Raises:
        ConfigError: if an option names no task, is out of range, or does not go with another.
    """

    name: ClassVar[str] = ""
    """The config's word."""
    spaces: ClassVar[frozenset[Space]] = frozenset({"conditional", "marginal"})
    """The logits that it can be given."""
    resamples: bool = False
    """Whether it is the likelihood of rows that were drawn by their labels (`Batch.rates`) too."""
    models_delays: ClassVar[bool] = False
    """Whether it takes `delayed: model`."""

    def __init__(self, funnel: TaskFunnel, **common: Unpack[Common]) -> None:
        if unknown := sorted(set(common) - Common.__annotations__.keys()):
            raise ConfigError(
                f"objective.{unknown[0]} is no option of objective={self.name}; all objectives have "
                f"{', '.join(Common.__annotations__)}."
            )
        self.funnel = funnel
        self.weights = dict(common.get("weights") or {})
        for name, weight in self.weights.items():
            if name not in funnel.names:
                raise ConfigError(f"objective.weights.{name} names no task; tasks are {', '.join(funnel.names)}.")
            if not weight >= 0:
                raise ConfigError(f"objective.weights.{name}={weight} must be >= 0.")
        self.rows = common.get("rows") or RowLoss()
        self.rows.check(funnel)
        self.examination = Examination(
            funnel, common.get("examination", "none"), common.get("examination_floor", Examination.FLOOR)
        )
        self.lists = common.get("lists") or ListTerm()
        self.listed = self.lists.of(funnel)
        self.delayed: Delayed = common.get("delayed", "drop")
        self.windows = self._windows()
        # A weighted click is no label, one that may still come is none to draw by, a list lacks what was left out.
        plain = self.examination.kind != "log" and self.delayed != "model" and not self.listed
        self.resamples = self.resamples and plain

    def _windows(self) -> dict[str, float]:
        """Task -> days within which its event counts, of the tasks whose delays are modelled."""
        if self.delayed not in get_args(Delayed):
            raise ConfigError(f"objective.delayed={self.delayed!r} must be one of {', '.join(get_args(Delayed))}.")
        if self.delayed != "model":
            return {}
        if not self.models_delays:
            raise ConfigError(
                f"objective.delayed=model is a likelihood, and objective={self.name} is none; use delayed=drop, or "
                "objective=masked_bce or entire_space_bce."
            )
        if not self.rows.plain or self.examination.kind == "log":
            raise ConfigError(
                "objective.delayed=model is a likelihood; leave objective.rows as it is, and examination=none or tower."
            )
        windows = {task.name: task.window for task in self.funnel.binary if task.window is not None}
        for task in self.funnel.tasks:
            for edge in self.funnel.way_to(task.name):
                if edge.name in windows:
                    raise ConfigError(
                        f"objective.delayed=model cannot reach tasks.{task.name}: {edge.name}, on the way to it, may "
                        "still come; use delayed=drop."
                    )
        return windows

    @property
    def needs(self) -> ObjectiveNeeds:
        """What assembly has to provide."""
        towers = (*self.examination.towers, *(f"delay/{task}" for task in self.windows), *self.own_towers())
        columns = (*self.examination.columns, *self.own_columns())
        return ObjectiveNeeds(tuple(dict.fromkeys(towers)), tuple(dict.fromkeys(columns)), self.delayed)

    def own_towers(self) -> tuple[str, ...]:
        """What a subclass asks for beside."""
        return ()

    def own_columns(self) -> tuple[str, ...]:
        """Likewise."""
        return ()

    def __call__(self, batch: Batch, output: HeadOutput) -> LossTerms:
        """One term per task."""
        found = self.event_terms(batch, output, self.probabilities(batch, output))
        terms = {**found.terms, **self._graded(batch, output)}
        notes = {**found.notes, **self.examination.notes(batch, output)}
        for name, term in self._list_terms(batch, output).items():
            terms[name] = terms[name] + term
            notes[f"list_{name}"] = term.detach()
        return LossTerms({name: term * self.weights.get(name, 1.0) for name, term in terms.items()}, notes)

    def event_terms(self, batch: Batch, output: HeadOutput, predicted: LogProbabilities) -> LossTerms:
        """The terms of the binary tasks, not yet weighted."""
        raise NotImplementedError

    def examined(self, batch: Batch, output: HeadOutput) -> LogProbabilities:
        """Of the events in the log, positions allowed for."""
        return self.examination.applied(batch, output, log_probabilities(output, self.funnel))

    def probabilities(self, batch: Batch, output: HeadOutput) -> LogProbabilities:
        """What the loss is a likelihood of: the events in the log, as often as its rows were drawn."""
        found = self.examined(batch, output)
        return resampled(found, self.funnel, batch.rates) if batch.rates else found

    # --- labels and costs --------------------------------------------------------------------------------------

    def label(self, batch: Batch, task: str) -> Float[Tensor, " rows"]:
        """A task's own label, positions allowed for. Outside its space it says nothing."""
        # What is outside may be anything, NaN too, which no mask keeps out of a gradient.
        label = torch.where(batch.observed[task] > 0, batch.labels[task], 0.0)
        return self.examination.labelled(batch, label) if task in self.examination.roots else label

    def happened(self, batch: Batch, task: str) -> Float[Tensor, " rows"]:
        """1 where a task and all on the way to it happened: the label of its joint event, positions allowed for."""
        return self.examination.labelled(batch, torch.where(batch.observed[task] > 0, batch.labels[task], 0.0))

    def costs(
        self,
        batch: Batch,
        output: HeadOutput,
        task: str,
        log_p: Float[Tensor, " rows"],
        label: Float[Tensor, " rows"],
    ) -> Float[Tensor, " rows"]:
        """What each row costs under a probability of a task, or of its joint event."""
        if task not in self.windows:
            return self.rows(log_p, label, task)
        return delay_nll(
            log_p,
            output.towers[f"delay/{task}"],
            label,
            batch.columns[f"delay_{task}"],
            batch.columns[f"elapsed_{task}"],
            self.windows[task],
        )

    # --- means over the optimizer step -------------------------------------------------------------------------

    def over_observed(self, batch: Batch, task: str, loss: Float[Tensor, " rows"]) -> Float[Tensor, ""]:
        """The mean over the rows of the optimizer step where a task is observed, as this batch's share of it.

        Rows outside send no gradient, whatever their loss is.
        """
        return batch.weighed(torch.where(batch.observed[task] > 0, loss, 0.0)).sum() / batch.count(task)

    def over_all(self, batch: Batch, task: str, loss: Float[Tensor, " rows"]) -> Float[Tensor, ""]:
        """The mean over all rows of the step (those whose label is final), likewise."""
        if task in batch.known:
            loss = torch.where(batch.known[task] > 0, loss, 0.0)
        return batch.weighed(loss).sum() / batch.count_known(task)

    def standing(self, batch: Batch, task: str) -> Float[Tensor, " rows"]:
        """What each row stands for in a mean over all rows; 0 where a label is not final."""
        return batch.weighed(batch.known.get(task, torch.ones_like(batch.observed[task])))

    def _list_terms(self, batch: Batch, output: HeadOutput) -> dict[str, Tensor]:
        if not self.listed:
            return {}
        predicted = self.examined(batch, output)
        return {
            task: self.lists(
                predicted.joint[task], self.happened(batch, task), batch.request, self.standing(batch, task)
            )
            .mul(self.standing(batch, task))
            .sum()
            / batch.count_known(task)
            for task in self.listed
        }

    def _graded(self, batch: Batch, output: HeadOutput) -> dict[str, Tensor]:
        return {
            task.name: self.over_observed(
                batch, task.name, graded_nll(output.logits[task.name], self.label(batch, task.name), task)
            )
            for task in self.funnel.tasks
            if not task.binary
        }
