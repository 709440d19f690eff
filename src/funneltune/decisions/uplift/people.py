"""The people of a run's log: who was treated how, what came of it, and what the run sees of them untreated.

Treated people must not be told from others by their treatment. The run reads every person *as if* left alone: the item,
and the columns that say the same, are set to the control's.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from funneltune.data import Asked
from funneltune.decisions.scorer import AT_ONCE, Scorer
from funneltune.errors import ConfigError, DataError
from funneltune.metrics.ties import Floats

CONTROL = ("control", "none", "no", "no e-mail", "no email", "untreated", "0", "0.0", "false")
"""What a log calls those left alone."""
MOST_ARMS = 10
OWN = ("request", "query", "user", "time", "item")
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Treatment:
    """Where the log says how people were treated."""

    name: str
    values: tuple[str, ...]
    control: str
    arm_of_row: NDArray[Any]
    """(rows,): place in `values`."""
    is_item: bool
    """Whether it is the item that is shown."""
    columns: tuple[str, ...]
    """Columns that say the same."""


def treatment_of(scorer: Scorer, name: str, control: str) -> Treatment:
    """A log's treatment by its column's name, or the item's.

    Raises:
        ConfigError: if there is no such column, it has too many values, no control, or stands in a text that the run
            reads of the person.
    """
    store, source = scorer.assembly.data.store, data_of(scorer)["source"]
    item_column = str(source.get("item") or "item")
    few_items = len(scorer.catalogue) <= MOST_ARMS
    if not name:
        if not store.has("treatment") and not few_items:
            raise ConfigError("treatment= is not given, and the log has no column treatment; name its column.")
        name = "treatment" if store.has("treatment") else item_column
    is_item = name in ("item", item_column)
    if is_item:
        values, codes = list(map(str, scorer.catalogue.keys)), store.column("item")
    elif store.has(name):
        values, codes = _coded(store, name)
    else:
        known = (item_column, *(one for one in store.table("impressions").column_names if one not in OWN))
        raise ConfigError(f"treatment={name} is no column of the log; it has {', '.join(known)}.")
    if not 2 <= len(values) <= MOST_ARMS:
        raise ConfigError(f"treatment={name} has {len(values)} values; a treatment has 2 to {MOST_ARMS}.")
    columns = tuple(
        one
        for one in scorer.read_columns
        if one == name
        or (is_item and one == "item")
        or (store.has(one) and one != "price" and _same(store, one, codes))
    )
    told = {**dict(source.get("query_text") or {}), **dict(source.get("user_text") or {})}
    read = [part for _, part, _, _ in string.Formatter().parse(scorer.assembly.data.texts.get("query", "")) if part]
    if any(told.get(part, part) == name for part in read):
        raise ConfigError(
            f"treatment={name} stands in the text that the run reads of a person (data.texts.query); train without it."
        )
    return Treatment(name, tuple(values), _control(name, values, control), np.asarray(codes), is_item, columns)


def data_of(scorer: Scorer) -> dict[str, Any]:
    """The run's data config."""
    return cast("dict[str, Any]", OmegaConf.to_container(scorer.assembly.cfg.data, resolve=True))


def _coded(store: Any, name: str) -> tuple[list[str], NDArray[Any]]:
    column = store.column(name)
    words = store.manifest["notes"].get("categories", {}).get(name)
    if words is not None:
        return list(map(str, words)), column
    distinct, codes = np.unique(column, return_inverse=True)
    return [f"{value:g}" if isinstance(value, (float, np.floating)) else str(value) for value in distinct], codes


def _same(store: Any, name: str, codes: NDArray[Any]) -> bool:
    """Whether a column tells the arm: one value per arm, and another for each."""
    column = np.unique(store.column(name), return_inverse=True)[1]
    arms = len(np.unique(codes))
    pairs = len(np.unique(column.astype(np.int64) * (int(np.max(codes)) + 1) + codes))
    return arms > 1 and pairs == arms == len(np.unique(column))


def _control(name: str, values: Sequence[str], control: str) -> str:
    if control:
        if control not in values:
            raise ConfigError(f"control={control} is no value of {name}; it has {', '.join(values)}.")
        return control
    found = [value for value in values if value.lower() in CONTROL]
    if len(found) != 1:
        raise ConfigError(f"control= is not given, and no value of {name} says so; it has {', '.join(values)}.")
    return found[0]


def outcomes_of(scorer: Scorer, name: str) -> tuple[str, str, Floats]:
    """A task's name, its joint rate, and whether it and all its edges happened, (rows,).

    Raises:
        ConfigError: if it is no binary task of the run.
    """
    store, funnel = scorer.assembly.data.store, scorer.funnel
    words = [task.name for task in funnel.binary]
    name = name or words[0]
    if name not in words:
        raise ConfigError(f"outcome={name} must be one of {', '.join(words)}, the run's binary tasks.")
    happened = store.column(name) > 0.5
    for edge in funnel.way_to(name):
        happened = happened & ((store.column(edge.name) > 0.5) == edge.holds)
    return name, funnel[name].joint_rate if funnel[name].given else funnel[name].rate, happened.astype(np.float64)


class People:
    """Rows of the log as the run reads them.

    Args:
        scorer: The run.
        treatment: What is set to one value for everyone.
    """

    def __init__(self, scorer: Scorer, treatment: Treatment) -> None:
        self.scorer, self.treatment = scorer, treatment
        self.store = scorer.assembly.data.store
        self.words, self.users = list(scorer.rows.queries), list(scorer.rows.users)
        if len(self.words) != self.store.table("queries").num_rows:  # two queries of one text
            self.words = self.store.text("queries", scorer.assembly.data.texts["query"])

    def rows(self, *splits: str) -> Integers:
        """Row numbers of splits, one after the other."""
        return np.concatenate([self.scorer.assembly.data.rows(split) for split in splits])

    def key(self, row: int) -> str:
        """How the log calls a row's request, or its shopper where it knows them."""
        user = self.users[int(self.store.column("user")[row])] if len(self.users) > 1 else ""
        return user or str(self.store.column("request")[row])

    def clusters(self, rows: Integers) -> Integers:
        """Whose rows belong together: a shopper's, or a request's where the log knows one shopper."""
        name = "user" if len(self.users) > 1 else "request"
        return np.unique(self.store.column(name)[rows], return_inverse=True)[1].astype(np.int64)

    def seen(self, rows: Integers, arm: str, rate: str) -> tuple[NDArray[np.float32], Floats]:
        """What the run makes of people under an arm: the vectors that its head reads, and the rate that it predicts."""
        order = np.argsort(self.store.column("query")[rows], kind="stable")  # each text in one part only
        vectors, rates = [], []
        for start in range(0, len(rows), AT_ONCE):
            one, other = self._part(rows[order[start : start + AT_ONCE]], arm, rate)
            vectors.append(one)
            rates.append(other)
        back = np.argsort(order)
        return np.concatenate(vectors)[back], np.concatenate(rates)[back]

    @torch.inference_mode()
    def _part(self, rows: Integers, arm: str, rate: str) -> tuple[NDArray[np.float32], Floats]:
        module, store = self.scorer.module, self.store
        mine = [name for name in self.scorer.read_columns if store.has(name) and name not in OWN]
        values = {name: self._as_words(name, rows) for name in mine if name not in self.treatment.columns}
        fixed = dict.fromkeys((one for one in self.treatment.columns if one not in OWN), arm)
        query, user = store.column("query")[rows], store.column("user")[rows]
        time = store.column("time")[rows] if store.has("time") else None
        asked = [
            Asked(
                query=self.words[int(query[n])],
                user=self.users[int(user[n])],
                time=None if time is None else float(time[n]),
                columns={name: column[n] for name, column in values.items()} | fixed,
            )
            for n in range(len(rows))
        ]
        shown = store.column("item")[rows].astype(np.int64)
        if self.treatment.is_item:
            shown = np.full(len(rows), self.scorer.catalogue.number(arm))
        batch = self.scorer.batch(asked, list(shown[:, None]))
        inputs = module.inputs(batch, dict(module.encoder.views(batch.texts)))
        said = self.scorer.calibrated(module.read(batch, inputs))[rate]
        distinct = list({id(one): one for one in inputs.values()}.values())
        return torch.cat(distinct, dim=1).float().numpy(), said

    def _as_words(self, name: str, rows: Integers) -> NDArray[Any]:
        values = self.store.column(name)[rows]
        words = self.store.manifest["notes"].get("categories", {}).get(name)
        return np.asarray(values if words is None else np.asarray(words, dtype=object)[values])

    def covariates(self, rows: Integers) -> tuple[list[str], Floats]:
        """What the log offers of people as numbers: each category 0 or 1, numbers as they are; not the treatment."""
        offered = data_of(self.scorer).get("features") or {}
        names: list[str] = []
        columns: list[Floats] = []
        left_out = {*OWN, *self.treatment.columns, self.treatment.name, *self.scorer.funnel.names}
        for name in (*(offered.get("ids") or ()), *dict(offered.get("numbers") or {})):
            if name in left_out or not self.store.has(name):
                continue
            values = self._as_words(name, rows)
            if values.dtype.kind in "OUS":
                for word in np.unique(values.astype(str))[:50]:
                    names.append(f"{name}={word}")
                    columns.append((values.astype(str) == word).astype(np.float64))
            else:
                names.append(name)
                columns.append(np.nan_to_num(values.astype(np.float64)))
        return names, np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0))


def require_both(rows: Integers, treated: Integers, arm: str, where: str, fewest: int) -> None:
    """Refuse an arm that is empty, or next to it.

    Raises:
        DataError: naming the arm.
    """
    for name, there in ((arm, int(treated.sum())), ("the control", int(len(rows) - treated.sum()))):
        if there < fewest:
            raise DataError(f"arm={name} has {there} people in the {where} rows; it takes {fewest} at least.")
