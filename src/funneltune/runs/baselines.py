"""What costs no training, scored on the same test rows: BM25, the bare backbone's cosine, item popularity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.data import bm25, popularity
from funneltune.runs.assemble import Assembly

Scores = dict[str, NDArray[np.float64]]

_COSINES: dict[str, NDArray[np.float64]] = {}
"""The last cosine scores of this process: the cells of a study ask for the same ones, one after the other."""


def score_baselines(names: Sequence[str], assembly: Assembly) -> Scores:
    """A score per test row, in store order, for each baseline named."""
    data = assembly.data
    rows = np.sort(data.rows("test"))
    scores: Scores = {}
    for name in names:
        if name == "bm25":
            scores[name] = bm25(data.store, rows, data.texts)
        elif name == "popularity":
            scores[name] = popularity(data.store, data.rows("train"), rows, data.funnel.names[0])
        else:
            scores[name] = cosine(assembly, rows)
    return scores


def cosine(assembly: Assembly, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cosine of query and item as the backbone encodes them apart, before any tuning; mean pooling, float32."""
    data = assembly.data
    asked = repr((assembly.backbone, data.store.fingerprint, data.texts, data.max_tokens))
    key = hashlib.sha256(asked.encode() + rows.tobytes()).hexdigest()
    if key not in _COSINES:
        _COSINES.clear()
        _COSINES[key] = _cosine(assembly, rows)
    return _COSINES[key].copy()


@torch.inference_mode()
def _cosine(assembly: Assembly, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    encoder = assembly.backbone.encoder(pooling="mean").eval()
    scores = np.zeros(len(rows))
    for start, batch in assembly.data.batches(rows, interaction="twin"):
        vectors = torch.nn.functional.normalize(encoder(batch.texts).float(), dim=-1)
        query, item = vectors[batch.text_of_row["query"]], vectors[batch.text_of_row["item"]]
        scores[start : start + len(batch)] = (query * item).sum(-1).double().numpy()
    return scores
