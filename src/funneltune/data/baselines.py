"""Scores to hold a run against: BM25 between query and item text, item popularity, boosted trees over the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from funneltune.data.features import FeatureColumns
from funneltune.data.lexical import LexicalIndex
from funneltune.data.store import LogStore
from funneltune.data.training_rows import Told
from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.metrics.spaces import joint


def bm25(store: LogStore, rows: NDArray[np.int64], texts: Mapping[str, str]) -> NDArray[np.float64]:
    """BM25 (k1 = 1.5, b = 0.75, Lucene's IDF) of each row's query against its item; statistics of all item texts."""
    queries = store.text("queries", texts["query"])
    index = LexicalIndex(store.text("items", texts["item"]))
    query, item = store.column("query")[rows], store.column("item")[rows]
    scores = np.zeros(len(rows))
    order = np.argsort(query, kind="stable")
    distinct, starts = np.unique(query[order], return_index=True)
    for number, group in zip(distinct, np.split(order, starts[1:]), strict=True):
        scores[group] = index.scores(queries[number])[item[group]]
    return scores


def boosted_trees(
    columns: FeatureColumns,
    funnel: TaskFunnel,
    rows: Mapping[str, NDArray[np.int64]],
    seed: int = 0,
    told: Told | None = None,
) -> dict[str, NDArray[np.float64]]:
    """LightGBM (Ke et al. 2017) over ids as categories and numbers: p(task | edges) and p(task and edges) of each test
    row, by their column stems.

    One model per binary task on the training rows where it is observed, stopped early on the validation rows' log loss.

    Args:
        columns: What the trees read.
        funnel: The tasks.
        rows: Row numbers of `train`, `validation` and `test`.
        seed: LightGBM's.
        told: What is known of the training rows where some labels may still come; None: what the log holds.

    Raises:
        ConfigError: if LightGBM is not installed, or there is nothing to read.
    """
    try:
        import lightgbm
    except ModuleNotFoundError:
        raise ConfigError(
            "baselines: trees needs a package that is not installed: pip install 'funneltune[trees]'."
        ) from None
    if not columns.needs:
        raise ConfigError("baselines: trees reads data.features.ids and data.features.numbers; both are empty.")
    labels = {name: columns.store.column(name) for name in funnel.names}
    tables = {split: columns.raw(rows[split]) for split in rows}
    found: dict[str, NDArray[np.float64]] = {}
    for task in funnel.binary:
        seen = {split: funnel.observed({k: v[rows[split]] for k, v in labels.items()}, task.name) for split in rows}
        target = {split: labels[task.name][rows[split]][seen[split]] for split in rows}
        if told is not None:
            seen["train"], target["train"] = told[1][task.name], told[0][task.name][told[1][task.name]]
        if len(np.unique(target["train"])) < 2 or len(np.unique(target["validation"])) < 2:
            rate = float(target["train"].mean()) if len(target["train"]) else 0.0
            found[f"p_{task.conditional}"] = np.full(len(rows["test"]), rate)
        else:
            model = lightgbm.LGBMClassifier(
                n_estimators=2000, learning_rate=0.03, num_leaves=31, random_state=seed, n_jobs=2, verbose=-1
            )
            model.fit(
                tables["train"][seen["train"]],
                target["train"],
                eval_X=tables["validation"][seen["validation"]],
                eval_y=target["validation"],
                eval_metric="binary_logloss",
                callbacks=[lightgbm.early_stopping(50, verbose=False)],
            )
            found[f"p_{task.conditional}"] = np.asarray(model.predict_proba(tables["test"])[:, 1], dtype=np.float64)
        found[f"p_{task.joint}"] = joint(found, funnel, task)
    return {name.removeprefix("p_"): p for name, p in found.items()}


def popularity(
    store: LogStore,
    train: NDArray[np.int64],
    rows: NDArray[np.int64],
    task: str,
    strength: float = 20.0,
    told: Callable[[NDArray[np.int64]], Told] | None = None,
) -> NDArray[np.float64]:
    """How often the task happened with each row's item in the training requests, drawn towards the mean by `strength`
    rows. `told` says what is known of rows where some labels may still come.
    """
    item, label = store.column("item"), store.column(task)
    n = store.table("items").num_rows
    shown, happened = np.zeros(n), np.zeros(n)
    for part in store.row_parts(train):
        shown += np.bincount(item[part], minlength=n)
        happened += np.bincount(item[part], weights=label[part] if told is None else told(part)[0][task], minlength=n)
    return np.asarray(smoothed_rates(shown, happened, strength)[item[rows]])


def smoothed_rates(
    shown: NDArray[np.float64], happened: NDArray[np.float64], strength: float = 20.0
) -> NDArray[np.float64]:
    """(items,): happened / shown, drawn towards the mean over all items by `strength` impressions."""
    mean = happened.sum() / max(shown.sum(), 1.0)
    return np.asarray((happened + strength * mean) / (shown + strength), dtype=np.float64)
