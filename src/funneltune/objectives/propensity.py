"""The probability that a task's label is observed: the model's own, the log's, or the truth."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.objectives.events import log_way
from funneltune.schema import Batch, LogProbabilities

KINDS = ("estimated", "log", "oracle")


class Propensity:
    """p(everything on the way to a task holds), of each row. No gradient flows through it.

    Args:
        funnel: The tasks.
        kind: `estimated`: the product of the model's own probabilities along the way. `log`: a column of the log.
            `oracle`: the product along the way of a simulated log's `oracle_p_...` columns.
        column: For `log`; `{task}` in it becomes the task's name.

    Raises:
        ConfigError: if the kind is unknown or does not go with the column.
    """

    def __init__(self, funnel: TaskFunnel, kind: str, column: str | None) -> None:
        if kind not in KINDS:
            raise ConfigError(f"objective.propensity={kind!r} must be one of {', '.join(KINDS)}.")
        if (kind == "log") != (column is not None):
            raise ConfigError(
                f"objective.propensity={kind} and objective.propensity_column={column} do not go together; name a "
                "column of p(the label is observed) with propensity=log, and none otherwise."
            )
        self.funnel, self.kind, self.column = funnel, kind, column
        self.tasks = tuple(task.name for task in funnel.binary if task.given)
        ways = {funnel.way_to(task) for task in self.tasks}
        if column is not None and "{task}" not in column and len(ways) > 1:
            raise ConfigError(
                f"objective.propensity_column={column} stands for one way, and the tasks have {len(ways)}; "
                "put {{task}} in it and give the log a column for each."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read of the log."""
        if self.column is not None:
            return tuple(self.column.replace("{task}", task) for task in self.tasks)
        if self.kind == "oracle":
            return tuple(self._oracle(edge.name) for task in self.tasks for edge in self.funnel.way_to(task))
        return ()

    def __call__(self, batch: Batch, task: str, logged: LogProbabilities) -> Float[Tensor, " rows"]:
        """`logged` are the model's log-probabilities of the events in the log."""
        if self.column is not None:
            return batch.columns[self.column.replace("{task}", task)].float()
        if self.kind == "oracle":
            found = torch.ones_like(batch.observed[task])
            for edge in self.funnel.way_to(task):
                p = batch.columns[self._oracle(edge.name)]
                found = found * (p if edge.holds else 1.0 - p)
            return found
        with torch.no_grad():
            return log_way(logged.conditional, self.funnel, task).exp()

    def _oracle(self, name: str) -> str:
        return f"oracle_p_{self.funnel[name].conditional}"
