"""How far the test split lies from the training split: rates, numbers, words, and identifiers never trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from funneltune.data.features import ENTITIES, FeatureColumns
from funneltune.data.splits import Requests
from funneltune.data.store import DELAY, LogStore
from funneltune.funnel import Task
from funneltune.metrics.drift import ks, psi, psi_of_numbers
from funneltune.schema import FeatureNeeds

SOME, LARGE = 0.1, 0.25
"""The usual rule of thumb for the population stability index."""
AT_MOST = 500_000
"""Rows of a split that columns are compared on; of a longer one so many are drawn, always the same."""
WORDS = 20
"""Most frequent words of a column in training that are bins of their own; the others share one."""
RULE = f"""train, test: a label's rate, a number's mean, the share of empty words, how many identifiers there are
psi: below {SOME:g} little, above {LARGE:g} a large change
ks: the largest distance of the distributions; p: of so much by chance alone, which in a long log is small whatever the
distance, and too small where rows of one shopper are alike: look at the distance
unseen: the share of the test's rows whose value no training row has"""


@dataclass(frozen=True)
class Moved:
    """One column in both splits.

    Args:
        column: Its name in the log; of a label the name of its rate.
        kind: `label` (train, test: the rate, or the mean), `number` (the mean), `words` (the share of empty cells) or
            `identifier` (how many different ones).
        train, test: As the kind says.
        psi: Population stability index; None for identifiers.
        ks, p: Of numbers: Kolmogorov's and Smirnov's distance, and its probability by chance alone.
        unseen: Of words and identifiers: the share of the test's rows whose value no training row has.
    """

    column: str
    kind: Literal["label", "number", "words", "identifier"]
    train: float
    test: float
    psi: float | None = None
    ks: float | None = None
    p: float | None = None
    unseen: float | None = None

    @property
    def change(self) -> str:
        """The rule of thumb's word for the index."""
        return "" if self.psi is None else "large" if self.psi > LARGE else "some" if self.psi > SOME else "little"


@dataclass(frozen=True)
class Drift:
    """What was found.

    Args:
        rows: Split -> its rows.
        compared: Split -> rows that columns were compared on.
        columns: Labels, then what moved most.
    """

    rows: Mapping[str, int]
    compared: Mapping[str, int]
    columns: tuple[Moved, ...]

    def table(self) -> pd.DataFrame:
        """A row per column."""
        return pd.DataFrame([{**asdict(moved), "change": moved.change} for moved in self.columns])

    def in_words(self) -> str:
        """A table for people, and how to read it."""
        drawn = [
            f"{self.compared[name]:,} of {name} drawn" for name, rows in self.rows.items() if rows > self.compared[name]
        ]
        sizes = ", ".join(f"{name} {rows:,} rows" for name, rows in self.rows.items())
        lines = [["column", "kind", "train", "test", "psi", "", "ks", "p", "unseen"]]
        for moved in self.columns:
            numbers = (_spelt(value) for value in (moved.train, moved.test, moved.psi))
            rest = (_spelt(moved.ks), "" if moved.p is None else f"{moved.p:.1g}", _spelt(moved.unseen, share=True))
            lines.append([moved.column, moved.kind, *numbers, moved.change, *rest])
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        left = (0, 1, 5)
        told = [
            "  ".join(
                c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        head = f"{sizes} ({'; '.join(drawn)})" if drawn else sizes
        return "\n".join([head, *(line.rstrip() for line in told), RULE])


def drift(store: LogStore, requests: Mapping[str, Requests], offered: FeatureNeeds | None = None) -> Drift:
    """Compare the test's rows with the training's.

    Args:
        store: The log.
        requests: Split -> its requests; `train` and `test` are compared.
        offered: Further columns, of entities, as features name them (`item.brand`).
    """
    rows = {name: store.rows_of(np.sort(requests[name])) for name in ("train", "test")}
    some = {name: _drawn(numbers) for name, numbers in rows.items()}
    found = [moved for task in store.funnel.tasks if (moved := _label(store, task, rows)) is not None]
    others = [*_identifiers(store, rows), *_columns(store, some), *_of_entities(store, some, offered)]
    others.sort(key=lambda moved: (moved.kind == "identifier", -(moved.psi or 0.0)))
    sizes, compared = ({name: len(numbers) for name, numbers in part.items()} for part in (rows, some))
    return Drift(sizes, compared, (*found, *others))


def _label(store: LogStore, task: Task, rows: Mapping[str, NDArray[np.int64]]) -> Moved | None:
    """A label where it is observed; None where a split has none."""
    labels = {name: store.column(name) for name in store.funnel.names}
    seen = store.funnel.observed(labels, task.name)
    train, test = (labels[task.name][numbers[seen[numbers]]] for numbers in (rows["train"], rows["test"]))
    if not len(train) or not len(test):
        return None
    means = float(train.mean()), float(test.mean())
    if task.kind == "regression":
        return Moved(task.rate, "label", *means, psi_of_numbers(train, test), *ks(train, test))
    bins = len(task.levels) if task.has_levels else 2
    index = psi(np.bincount(train, minlength=bins), np.bincount(test, minlength=bins))
    return Moved(task.rate, "label", *means, index)


def _identifiers(store: LogStore, rows: Mapping[str, NDArray[np.int64]]) -> Iterator[Moved]:
    for side, table in ENTITIES.items():
        if (entities := store.table(table).num_rows) > 1:
            codes = store.column(side)
            train, test = (np.bincount(codes[rows[name]], minlength=entities) for name in ("train", "test"))
            unseen = float(test[train == 0].sum() / max(1, test.sum()))
            yield Moved(side, "identifier", int((train > 0).sum()), int((test > 0).sum()), unseen=unseen)


def _columns(store: LogStore, rows: Mapping[str, NDArray[np.int64]]) -> Iterator[Moved]:
    """Numbers and words of the rows themselves. Time is what splits differ by."""
    words = store.manifest["notes"].get("categories", {})
    besides = {"request", "time", *ENTITIES, *store.funnel.names}
    for name in store.table("impressions").column_names:
        if name in besides or name.startswith(("oracle_", DELAY)):
            continue
        values = {split: store.column(name)[numbers] for split, numbers in rows.items()}
        yield _of_words(name, values, words[name]) if name in words else _of_numbers(name, values)


def _of_entities(
    store: LogStore, rows: Mapping[str, NDArray[np.int64]], offered: FeatureNeeds | None
) -> Iterator[Moved]:
    """Columns of queries, items and shoppers that the config offers as features."""
    if offered is None:
        return
    ids, numbers = (tuple(n for n in names if "." in n) for names in (offered.ids, offered.numbers))
    if not ids and not numbers:
        return
    columns = FeatureColumns(store, FeatureNeeds(ids=ids, numbers=numbers), np.ones(store.n_rows, bool))
    tables = {split: columns.raw(of_split) for split, of_split in rows.items()}
    for name in ids:
        known = tables["train"][name].cat.categories.tolist()
        yield _of_words(name, {split: table[name].cat.codes.to_numpy() for split, table in tables.items()}, known)
    for name in numbers:
        yield _of_numbers(name, {split: table[name].to_numpy(np.float64) for split, table in tables.items()})


def _of_numbers(name: str, values: Mapping[str, NDArray[Any]]) -> Moved:
    train, test = values["train"].astype(np.float64), values["test"].astype(np.float64)
    return Moved(name, "number", float(train.mean()), float(test.mean()), psi_of_numbers(train, test), *ks(train, test))


def _of_words(name: str, codes: Mapping[str, NDArray[Any]], words: list[str]) -> Moved:
    counts = {split: np.bincount(code, minlength=len(words)) for split, code in codes.items()}
    train, test = counts["train"], counts["test"]
    often = np.argsort(-train, kind="stable")[:WORDS]
    bins = [np.append(count[often], count.sum() - count[often].sum()) for count in (train, test)]
    empty = [place for place, word in enumerate(words) if not word.strip()]
    nulls = [float(count[empty].sum() / max(1, count.sum())) for count in (train, test)]
    unseen = float(test[train == 0].sum() / max(1, test.sum()))
    return Moved(name, "words", nulls[0], nulls[1], psi(*bins), unseen=unseen)


def _drawn(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= AT_MOST:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, AT_MOST, replace=False))


def _spelt(value: float | None, *, share: bool = False) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if share else f"{value:,.0f}" if value == int(value) and abs(value) >= 1 else f"{value:.4g}"
