"""Reviews as a run reads them: those of its log, of a file, or one that was just written.

Legend: n reviews, K levels of the rating.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.data import Asked
from funneltune.decisions.requests import read_frame
from funneltune.decisions.scorer import Scorer
from funneltune.errors import ConfigError, DataError
from funneltune.funnel import Task
from funneltune.metrics.ties import Floats
from funneltune.schema import predictions

AT_ONCE = 512
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Said:
    """What a run (or a baseline) says of reviews."""

    levels: Floats
    """(n, K): p(rating)."""
    recommended: Floats
    """(n,): p(recommended)."""

    def rating(self, worth: Floats) -> Floats:
        """(n,): the expected rating."""
        return np.asarray(self.levels @ worth, dtype=np.float64)


class Reader:
    """A run that predicts an ordinal and a binary task from texts.

    Args:
        scorer: The run.

    Raises:
        ConfigError: if it reads no texts, or lacks one of the tasks.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.store = scorer, scorer.assembly.data.store
        tasks = scorer.funnel.tasks
        rating = next((task for task in tasks if task.kind == "ordinal" and not task.given), None)
        recommended = next((task for task in tasks if task.binary and not task.given), None)
        if rating is None or recommended is None:
            there = ", ".join(f"{task.name} ({task.kind})" for task in tasks)
            raise ConfigError(
                f"run={scorer.folder} predicts {there}; sentiment needs an ordinal task (stars) and a binary one "
                "(recommended): train womens_clothing, or a log with both."
            )
        if "query" not in scorer.assembly.data.texts or scorer.assembly.data.interaction == "none":
            raise ConfigError(f"run={scorer.folder} reads no texts; sentiment needs a run that reads reviews.")
        self.rating: Task = rating
        self.recommended: Task = recommended
        self.template = str(scorer.assembly.data.texts["query"])
        self.worth = np.array([_worth(level, n) for n, level in enumerate(rating.levels, 1)])

    # --- reviews of the log ------------------------------------------------------------------------------------

    def texts(self, rows: Integers) -> list[str]:
        """What was written."""
        words = self.store.text("queries", self.template)
        return [words[n] for n in self.store.column("query")[rows]]

    def item_texts(self, rows: Integers) -> list[str]:
        """What the run reads of each review's item."""
        titles = self.scorer.catalogue.titles if "item" in self.scorer.assembly.data.texts else None
        return ["" if titles is None else titles[n] for n in self.store.column("item")[rows]]

    def of_log(self, rows: Integers) -> Said:
        """The run's word on logged reviews."""
        names = [name for name in self.scorer.read_columns if self.store.has(name)]
        categories = self.store.manifest["notes"].get("categories", {})
        columns = {name: self._words(name, rows, categories) for name in names}
        items = self.store.column("item")[rows].astype(np.int64)
        asked = [
            Asked(query=text, columns={name: values[n] for name, values in columns.items()})
            for n, text in enumerate(self.texts(rows))
        ]
        return self.read(asked, items)

    def _words(self, name: str, rows: Integers, categories: dict[str, Any]) -> NDArray[Any]:
        values = self.store.column(name)[rows]
        words = categories.get(name)
        return np.asarray(values if words is None else np.asarray(words, dtype=object)[values])

    # --- new ones ----------------------------------------------------------------------------------------------

    def of_texts(self, texts: Sequence[str], items: Sequence[str]) -> Said:
        """The run's word on reviews of items by their keys; an empty key: of no item that is known.

        Raises:
            ConfigError: if an item is none of the log's.
        """
        unknown = len(self.scorer.catalogue)
        numbers = [self.scorer.catalogue.number(key) if key else unknown for key in items]
        return self.read([Asked(query=text) for text in texts], np.array(numbers, dtype=np.int64))

    def of_file(self, path: Path) -> tuple[list[str], list[str]]:
        """Texts and items' keys of a CSV, Parquet or JSON-lines file: a column `text`, or the fields of the template
        (`title`, `review`); `item` where it is known.

        Raises:
            DataError: if it cannot be read, or a column is missing.
        """
        frame = read_frame(path, "input")
        fields = [name for _, name, _, _ in string.Formatter().parse(self.template) if name]
        if "text" in frame:
            texts = frame["text"].fillna("").astype(str).tolist()
        elif missing := [name for name in fields if name not in frame]:
            raise DataError(f"input={path}: needs a column text, or {', '.join(fields)}; {missing[0]} is missing.")
        else:
            parts = frame[fields].astype(object).fillna("").astype(str)
            texts = [
                self.template.format(**{str(name): value for name, value in row.items()})
                for row in parts.to_dict("records")
            ]
        if empty := [n for n, text in enumerate(texts, 1) if not text.strip(" .")]:
            raise DataError(f"input={path}: row {empty[0]} has no words.")
        return texts, frame["item"].astype(str).tolist() if "item" in frame else [""] * len(texts)

    @torch.inference_mode()
    def read(self, asked: Sequence[Asked], items: Integers) -> Said:
        """Reviews part by part, short ones together."""
        module = self.scorer.module
        new: list[dict[str, Any]] = [{}]
        order = np.argsort([len(one.query) for one in asked], kind="stable")
        levels, recommended = [], []
        for start in range(0, len(asked), AT_ONCE):
            part = order[start : start + AT_ONCE]
            batch = self.scorer.batch([asked[n] for n in part], [items[n : n + 1] for n in part], new)
            output = module(batch)
            found = module.scales.restore(predictions(output, self.scorer.funnel))
            levels.append(np.stack([np.exp(found[name].double().numpy()) for name in self.rating.predicted], axis=1))
            recommended.append(self.scorer.calibrated(output)[self.recommended.rate])
        back = np.argsort(order)
        return Said(np.concatenate(levels)[back], np.concatenate(recommended)[back])


def _worth(level: str, place: int) -> float:
    """What a level counts in a mean: its number, or its place where it is a word."""
    try:
        return float(level)
    except ValueError:
        return float(place)
