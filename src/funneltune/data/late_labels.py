"""Labels as they stood at a moment: which were final, what had been seen of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.sources.lateness import moments
from funneltune.data.splits import Requests, Split
from funneltune.data.store import DELAY, LogStore
from funneltune.errors import ConfigError

DAY = 86_400.0
TRAIN = "train"
Integers = NDArray[np.int64]
Labels = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class LateLabels:
    """The labels of a log whose tasks have windows, as they stood at `until` (unix seconds; None: when all were final).

    A task's event is seen once its delay (the log's `delay_TASK`) has passed; a log that tells no delays is taken to
    hold what had been seen. A label is final when the task's window has passed, and those of all tasks on its way.
    """

    store: LogStore
    until: float | None

    @classmethod
    def read(cls, store: LogStore, until: str | float | None, split: Split, train: Requests) -> LateLabels | None:
        """From `data.observed_until`; None where every label is final and no task has a window.

        Raises:
            ConfigError: if it is no moment, lies before the last training row, or no label comes late.
        """
        windows = [task for task in store.funnel.tasks if task.window is not None]
        if until is None:
            return cls(store, None) if windows else None
        where = f"data.observed_until={until}"
        if not windows:
            raise ConfigError(f"{where}, but no task has a window; set data.tasks.TASK.window to its days, or null.")
        for task in store.funnel.binary:
            if task.window is None and store.has(f"{DELAY}{task.name}"):
                raise ConfigError(
                    f"{where} needs to know when {task.name!r} is final; set data.tasks.{task.name}.window."
                )
        if not store.has("time"):
            raise ConfigError(f"{where} needs the time of each impression; map data.source.time, or set null.")
        if until == TRAIN and split.by != "time":
            raise ConfigError(f"{where} is the end of a training split by time, and data.split.by={split.by}; name it.")
        last = float(store.of_requests("time_last")[train].max())
        moment = last if until == TRAIN else moment_of(until)
        if moment < last:
            raise ConfigError(
                f"{where} lies {(last - moment) / DAY:.2f} days before the last training row; name a later moment."
            )
        return cls(store, moment)

    def labels(self, rows: Integers) -> Labels:
        """What had been seen of each task."""
        found = {name: self.store.column(name)[rows] for name in self.store.funnel.names}
        if self.until is None:
            return found
        age = self._age(rows)
        for task in self.store.funnel.binary:
            if task.window is not None and self.store.has(f"{DELAY}{task.name}"):
                come = self.store.column(f"{DELAY}{task.name}")[rows] <= age
                found[task.name] = np.where(come, found[task.name], 0).astype(found[task.name].dtype)
        return found

    def final(self, rows: Integers) -> dict[str, NDArray[np.bool_]]:
        """Of the tasks whose labels come late: where they had come to stay."""
        if self.until is None:
            return {}
        age, funnel = self._age(rows), self.store.funnel
        return {name: age >= funnel.final_after(name) for name in funnel.names if funnel.final_after(name)}

    def columns(self, rows: Integers, labels: Labels) -> dict[str, NDArray[np.float32]]:
        """Of each task with a window: `elapsed_TASK`, the days in which its event could come so far, and `delay_TASK`,
        those that it took where it came, else 0.

        Raises:
            ConfigError: if the log does not tell a task's delays.
        """
        found: dict[str, NDArray[np.float32]] = {}
        for task in self.store.funnel.tasks:
            if task.window is None:
                continue
            delay = f"{DELAY}{task.name}"
            if not self.store.has(delay):
                raise ConfigError(
                    f"objective.delayed=model needs the delays of {task.name!r}, which the log does not tell; map "
                    f"data.source.delays.{task.name}, or choose drop."
                )
            elapsed = (
                np.full(len(rows), task.window) if self.until is None else np.minimum(self._age(rows), task.window)
            )
            found[f"elapsed_{task.name}"] = elapsed.astype(np.float32)
            found[delay] = np.where(labels[task.name] == 1, self.store.column(delay)[rows], 0).astype(np.float32)
        return found

    def _age(self, rows: Integers) -> NDArray[np.float64]:
        """Days from each impression to the moment."""
        assert self.until is not None
        return np.asarray((self.until - self.store.column("time")[rows]) / DAY)


def moment_of(value: str | float) -> float:
    """Unix seconds of a number of them, or of an ISO 8601 date or time (UTC where it names no zone).

    Raises:
        ConfigError: if it is neither.
    """
    found = float(moments(pd.Series([str(value)], dtype=object))[0])
    if isinstance(value, bool) or not np.isfinite(found):
        raise ConfigError(
            f"data.observed_until={value!r} must be null, train, unix seconds or an ISO 8601 date (2024-06-30)."
        )
    return found
