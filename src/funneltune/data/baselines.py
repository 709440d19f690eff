"""Scores that need no training: BM25 between query and item text, and item popularity."""

from __future__ import annotations

from collections.abc import Mapping

import bm25s
import numpy as np
from numpy.typing import NDArray

from funneltune.data.store import LogStore


def bm25(store: LogStore, rows: NDArray[np.int64], texts: Mapping[str, str]) -> NDArray[np.float64]:
    """BM25 (k1 = 1.5, b = 0.75, Lucene's IDF) of each row's query against its item; statistics of all item texts.

    Words are lower-cased, neither stemmed nor stopped.
    """
    items, queries = store.text("items", texts["item"]), store.text("queries", texts["query"])
    index = bm25s.BM25(k1=1.5, b=0.75)
    index.index(bm25s.tokenize(items, stopwords=None, show_progress=False), show_progress=False)
    query, item = store.column("query")[rows], store.column("item")[rows]
    scores = np.zeros(len(rows))
    order = np.argsort(query, kind="stable")
    distinct, starts = np.unique(query[order], return_index=True)
    for number, group in zip(distinct, np.split(order, starts[1:]), strict=True):
        words = bm25s.tokenize([queries[number]], stopwords=None, return_ids=False, show_progress=False)[0]
        known = [word for word in words if word in index.vocab_dict]
        if known:
            scores[group] = index.get_scores(known)[item[group]]
    return scores


def popularity(
    store: LogStore, train_rows: NDArray[np.int64], rows: NDArray[np.int64], task: str, strength: float = 20.0
) -> NDArray[np.float64]:
    """How often the task happened with each row's item in training, drawn towards the mean by `strength` rows."""
    item, label = store.column("item"), store.column(task)
    n = store.table("items").num_rows
    shown = np.bincount(item[train_rows], minlength=n)
    happened = np.bincount(item[train_rows], weights=label[train_rows], minlength=n)
    mean = label[train_rows].mean()
    rate: NDArray[np.float64] = (happened + strength * mean) / (shown + strength)
    return np.asarray(rate[item[rows]])
