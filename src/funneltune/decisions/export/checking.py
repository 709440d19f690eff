"""An export against the run: the same test rows, the largest difference of what each says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from funneltune.data import LogDataModule
from funneltune.decisions.export.exported import RAW, Exported
from funneltune.errors import RunError
from funneltune.metrics import auc
from funneltune.metrics.spaces import spaces
from funneltune.runs import Assembly
from funneltune.schema import Batch, HeadOutput, predictions

Rows = dict[str, NDArray[np.float64]]
"""Column of the predictions -> a value per checked row."""
MOST_ROWS = 20_000
"""Rows that are checked: whole requests, evenly spread over the test split."""
FLOAT_TOLERANCE = 1e-5
"""Of probabilities, absolute; of means, relative to 1 + the mean."""


@dataclass(frozen=True)
class TestRows:
    """Rows of a run's test split, and how they are scored.

    Args:
        assembly: The run, in evaluation mode.
        rows: Row numbers, ascending; whole requests.
    """

    __test__ = False  # no class of tests, whatever pytest makes of the name
    assembly: Assembly
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, assembly: Assembly, most: int = MOST_ROWS) -> TestRows:
        """The split's rows, or `most` of them.

        Raises:
            RunError: if the split has none.
        """
        data = assembly.data
        requests = np.sort(data.requests("test"))
        if not len(requests):
            raise RunError("check=true: the run's test split has no rows to check an export on; set check=false.")
        total = data.n_rows("test")
        some = max(1, int(len(requests) * min(1.0, most / total)))
        chosen = requests[np.linspace(0, len(requests) - 1, some).round().astype(np.int64)]
        return cls(assembly, data.store.rows_of(chosen))

    @property
    def data(self) -> LogDataModule:
        """The run's."""
        return self.assembly.data

    @torch.inference_mode()
    def predicted(self, score: Callable[[Batch], HeadOutput]) -> Rows:
        """The columns that these logits make, by batches of the run's own size."""
        module = self.assembly.module
        parts = []
        for _, batch in self.data.batches(self.rows):
            found = module.scales.restore(predictions(score(batch), module.funnel))
            parts.append(np.stack([found[n].double().numpy() for n in module.funnel.predicted], axis=1))
        values = np.concatenate(parts)
        return {
            name: np.exp(values[:, i]) if name.startswith("p_") else values[:, i]
            for i, name in enumerate(module.funnel.predicted)
        }

    def stored(self, predictions_of_run: Mapping[str, NDArray[Any]]) -> Rows | None:
        """The same rows of the run's predictions.parquet; None where it holds another split than the log does."""
        everything, funnel = self.data.rows("test"), self.data.funnel
        if any(len(predictions_of_run.get(n, ())) != len(everything) for n in funnel.predicted):
            return None
        place = np.searchsorted(everything, self.rows)
        return {n: np.asarray(predictions_of_run[n], np.float64)[place] for n in funnel.predicted}

    def by(self, model: Exported) -> Rows:
        """What an export says, request by request, from the log's own words."""
        store, data = self.data.store, self.data
        query, item = store.column("query")[self.rows], store.column("item")[self.rows]
        reads = model.kind != "none"
        words = store.text("queries", data.texts["query"]) if reads else []
        titles = store.text("items", data.texts["item"]) if reads and "item" in data.texts else []
        columns = data.collator().features
        past = columns.history(self.rows) if columns and columns.needs.history else None
        vectors = _encoded(model, titles, item, past) if model.kind == "twin" else None
        keys = np.asarray(store.table("items").column("key").to_pylist(), dtype=object)
        found: list[NDArray[Any]] = []
        request = store.requests_of(self.rows)
        for rows in np.split(np.arange(len(self.rows)), np.flatnonzero(np.diff(request)) + 1):
            items = item[rows]
            given: dict[str, Any] = self._features(self.rows[rows])
            before = past[rows[0]][past[rows[0]] >= 0] if past is not None else items[:0]
            if past is not None and columns is not None and columns.needs.history_ids:
                given["item"] = keys[items].astype(str)
            for one, same in _by_query(query[rows]):
                said = model.score(
                    words[one] if reads else "",
                    vectors[items[same]] if vectors is not None else _texts(titles, items[same]),
                    {name: np.asarray(values)[same] for name, values in given.items()},
                    vectors[before] if vectors is not None else keys[before].astype(str),
                    RAW,
                )
                found.append(np.stack([rows[same], *(said[name] for name in model.outputs)]))
        values = np.concatenate(found, axis=1)
        values = values[:, np.argsort(values[0], kind="stable")]
        return {column: values[1 + i] for i, column in enumerate(model.outputs.values())}

    def repeated(self, n: int) -> dict[str, Any]:
        """Features and past of `n` candidates, those of the first rows over and over: arguments of `Exported.score`."""
        rows = self.rows[np.arange(n) % len(self.rows)]
        given, columns = self._features(rows), self.data.collator().features
        if columns is None or not columns.needs.history:
            return {"features": given}
        before = columns.history(rows[:1])[0]
        if columns.needs.history_ids:
            keys = np.asarray(self.data.store.table("items").column("key").to_pylist(), dtype=object).astype(str)
            given["item"] = keys[self.data.store.column("item")[rows]]
            return {"features": given, "past": keys[before[before >= 0]]}
        titles = self.data.store.text("items", self.data.texts["item"])
        return {"features": given, "past": [titles[i] for i in before[before >= 0]]}

    def _features(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        columns = self.data.collator().features
        if columns is None:
            return {}
        raw = columns.raw(rows)
        found: dict[str, Any] = {name: raw[name].to_numpy() for name in raw.columns}
        at = 0
        for name, width in self.data.vector_widths().items():
            found[name] = columns.vectors(rows)[:, at : at + width]
            at += width
        return found

    def quality(self, found: Rows, wanted: Rows) -> dict[str, dict[str, float | None]]:
        """Per rate: Spearman's rank correlation with the run, and both AUCs where the rows have both labels."""
        labels = {n: np.asarray(self.data.store.column(n)[self.rows], np.float64) for n in self.data.funnel.names}
        told: dict[str, dict[str, float | None]] = {}
        for space in spaces(labels, self.data.funnel):
            here, there = (rows[f"p_{space.stem}"][space.rows] for rows in (found, wanted))
            both = 0 < space.label.sum() < len(space.label)
            whole = found[f"p_{space.stem}"], wanted[f"p_{space.stem}"]
            told[space.rate] = {
                "rank_correlation": float(spearmanr(*whole).statistic) if all(v.std() > 0 for v in whole) else None,
                "auc": auc(space.label, here) if both else None,
                "auc_of_run": auc(space.label, there) if both else None,
            }
        return told


def largest_difference(found: Rows, wanted: Rows) -> float:
    """Over all columns that both have: absolute for probabilities, over 1 + |mean| for means."""
    return max(
        float((np.abs(found[n] - wanted[n]) / (1.0 if n.startswith("p_") else 1.0 + np.abs(wanted[n]))).max())
        for n in wanted
        if n in found
    )


def _encoded(model: Exported, titles: list[str], item: NDArray[Any], past: NDArray[Any] | None) -> NDArray[Any]:
    """A vector per item of the log; those that the rows do not need stay zero."""
    needed = np.unique(np.concatenate([item, *([past[past >= 0]] if past is not None else [])]))
    vectors = np.zeros((len(titles), model.manifest["width"]), np.float32)
    vectors[needed] = model.encode([titles[i] for i in needed])
    return vectors


def _by_query(query: NDArray[Any]) -> list[tuple[int, NDArray[np.int64]]]:
    """The rows of each query of a request: usually there is one."""
    return [(int(one), np.flatnonzero(query == one)) for one in np.unique(query)]


def _texts(titles: list[str], items: NDArray[Any]) -> list[str]:
    return [titles[i] for i in items] if titles else [""] * len(items)
