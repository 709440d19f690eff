"""Where AdaLoRA keeps its ranks: a pattern of live ranks as a map of modules and layers, and what it adds up to."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from funneltune.metrics.ties import Floats

LAYER = re.compile(r"(?:^|\.)(?:layers?|h)\.(\d+)\.(.+)$")
SHORT = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention out",
    "intermediate.dense": "feed-forward in",
    "output.dense": "feed-forward out",
}
"""What BERT's matrices are called in tables; others keep their names."""
ATTENTION = re.compile(r"att|query|key|value")


def placed(pattern: Mapping[str, float]) -> dict[tuple[str, int], float]:
    """(module, layer) -> rank. A matrix outside of any numbered layer counts as layer 0."""
    found = {}
    for name, rank in pattern.items():
        inside = LAYER.search(name)
        layer, module = (int(inside[1]), inside[2]) if inside else (0, name)
        found[SHORT.get(module, module), layer] = rank
    return found


def grid(pattern: Mapping[str, float]) -> tuple[list[str], list[int], Floats]:
    """(module names, layer numbers, ranks of shape (modules, layers)); NaN where a layer lacks a module."""
    where = placed(pattern)
    modules = list(dict.fromkeys(module for module, _ in where))
    layers = sorted({layer for _, layer in where})
    ranks = np.full((len(modules), len(layers)), np.nan)
    for (module, layer), rank in where.items():
        ranks[modules.index(module), layers.index(layer)] = rank
    return modules, layers, ranks


def is_attention(module: str) -> bool:
    """Whether a module of `placed` belongs to attention; else it is the feed-forward network's."""
    return bool(ATTENTION.search(module))


def attention_share(pattern: Mapping[str, float]) -> float:
    """Share of all live ranks that lie in attention; NaN where there is none.

    >>> attention_share({"layer.0.attention.self.query": 3, "layer.0.output.dense": 1})
    0.75
    """
    where = placed(pattern)
    total = sum(where.values())
    return sum(rank for (module, _), rank in where.items() if is_attention(module)) / total if total else float("nan")


def layer_shares(pattern: Mapping[str, float], parts: int = 3) -> list[float]:
    """Shares of all live ranks that lie in the lowest, ..., highest of so many equal parts of the layers.

    A layer that lies across a border counts in proportion.

    >>> layer_shares({f"layer.{n}.output.dense": n + 1 for n in range(6)})
    [0.14285714285714285, 0.3333333333333333, 0.5238095238095238]
    """
    where = placed(pattern)
    layers = sorted({layer for _, layer in where})
    total = float(sum(where.values()))
    edges = np.linspace(0, len(layers), parts + 1)
    shares = []
    for low, high in itertools.pairwise(edges):
        inside = {layer: max(0.0, min(n + 1, high) - max(n, low)) for n, layer in enumerate(layers)}
        held = sum(rank * inside[layer] for (_, layer), rank in where.items())
        shares.append(float(held / total) if total else float("nan"))
    return shares


def agreement(patterns: Sequence[Mapping[str, float]]) -> float:
    """Mean correlation (Pearson) of the maps of two runs, over all pairs of runs; NaN for one run, or flat maps."""
    names = sorted(set.intersection(*(set(pattern) for pattern in patterns))) if patterns else []
    maps = np.array([[pattern[name] for name in names] for pattern in patterns], dtype=np.float64)
    if len(maps) < 2 or maps.shape[1] < 2 or (maps.std(axis=1) == 0).any():
        return float("nan")
    return float(np.asarray(np.corrcoef(maps))[np.triu_indices(len(maps), 1)].mean())


def likeness(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> tuple[float, float]:
    """How far two maps lie apart, as means over pairs of runs: |difference| of ranks per matrix, and correlation
    (Pearson; NaN where no pair has one). Of matrices that both runs have.

    >>> likeness([({"a": 0, "b": 2, "c": 4}, {"a": 1, "b": 3, "c": 5})])
    (1.0, 1.0)
    """
    apart, alike = [], []
    for one, other in pairs:
        names = sorted(set(one) & set(other))
        maps = np.array([[pattern[name] for name in names] for pattern in (one, other)], dtype=np.float64)
        if names:
            apart.append(float(np.abs(maps[0] - maps[1]).mean()))
        alike.append(agreement([one, other]))
    found = [value for value in alike if not np.isnan(value)]
    return (
        float(np.mean(apart)) if apart else float("nan"),
        float(round(np.mean(found), 12)) if found else float("nan"),
    )
