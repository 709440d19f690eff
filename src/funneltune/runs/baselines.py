"""What a run is held against on the same test rows: BM25, the bare backbone's cosine, popularity, boosted trees."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.backbones import Backbone, NoBackbone
from funneltune.data import FeatureColumns, bm25, boosted_trees, popularity
from funneltune.errors import ConfigError
from funneltune.metrics import Scorer
from funneltune.runs.assemble import Assembly
from funneltune.schema import FeatureNeeds

Scores = dict[str, Scorer]

_COSINES: dict[str, NDArray[np.float64]] = {}
"""The last cosine scores of this process: the cells of a study ask for the same ones, one after the other."""


def score_baselines(names: Sequence[str], assembly: Assembly) -> Scores:
    """A score per test row, in store order, for each baseline named.

    Raises:
        ConfigError: if one needs what the log or the run does not have.
    """
    data = assembly.data
    for name in names:
        if name in ("bm25", "cosine") and not data.texts:
            raise ConfigError(f"baselines: {name} reads texts, and data.texts is null; leave it out.")
        if name in ("bm25", "cosine") and "item" not in data.texts:
            raise ConfigError(
                f"baselines: {name} holds query and item together, and data.texts.item is not there; leave it out."
            )
        if name == "cosine" and isinstance(assembly.backbone, NoBackbone):
            raise ConfigError("baselines: cosine needs a backbone, and backbone=none; leave it out.")
        if name == "popularity" and not data.funnel.binary:
            raise ConfigError("baselines: popularity needs a binary task, and data.tasks has none; leave it out.")
    rows = np.sort(data.rows("test"))
    scores: Scores = {}
    for name in names:
        if name == "bm25":
            scores[name] = bm25(data.store, rows, data.texts)
        elif name == "popularity":
            first = data.funnel.binary[0].name
            scores[name] = popularity(data.store, data.requests("train"), rows, first, told=data.told)
        elif name == "trees":
            scores[name] = _trees(assembly, rows)
        else:
            scores[name] = cosine(assembly, rows)
    return scores


def _trees(assembly: Assembly, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Boosted trees over the columns that the data config lists as features, whichever of them the run uses."""
    data, offered = assembly.data, FeatureNeeds.offered(assembly.cfg.data.get("features"))
    needs = FeatureNeeds(ids=offered.ids, numbers=offered.numbers)
    columns = FeatureColumns(data.store, needs, np.zeros(0, dtype=bool))
    split = {"train": data.rows("train"), "validation": data.rows("validation"), "test": rows}
    return boosted_trees(columns, data.funnel, split, seed=data.seed, told=data.told(split["train"]))


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
    assert isinstance(assembly.backbone, Backbone)
    encoder = assembly.backbone.encoder(pooling="mean").eval()
    scores = np.zeros(len(rows))
    for start, batch in assembly.data.batches(rows, interaction="twin"):
        vectors = torch.nn.functional.normalize(encoder(batch.texts).float(), dim=-1)
        query, item = vectors[batch.text_of_row["query"]], vectors[batch.text_of_row["item"]]
        scores[start : start + len(batch)] = (query * item).sum(-1).double().numpy()
    return scores
