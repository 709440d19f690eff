"""How long an answer takes: torch and the graphs in one process, in turns; ratios are what to read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from funneltune.backbones import Encoder
from funneltune.decisions.export.checking import TestRows
from funneltune.decisions.export.exported import Exported
from funneltune.decisions.export.plain import PaddedEncoder, PlainScorer
from funneltune.runs import Assembly
from funneltune.runs.precision import resolve_precision

PAGE, CANDIDATES, THREADS = 20, 1000, (1, 2)
BASE = "torch float32"
COLUMNS = ["threads", "what", "engine", "p50 ms", "p99 ms", "x torch float32"]


class InTorch(Exported):
    """The export's own handling of texts and features around the run's modules: what differs is the engine alone.

    Args:
        folder: `onnx` of an export.
        assembly: The run, its update merged where it can be.
        low: Encode in bfloat16, by autocast.
    """

    def __init__(self, folder: Path, assembly: Assembly, low: bool = False) -> None:
        super().__init__(folder, verify=False)
        encoder = assembly.module.encoder
        self.low = low
        self.padded = PaddedEncoder(encoder).eval() if isinstance(encoder, Encoder) else None
        self.plain = PlainScorer(assembly.module, assembly.data.features, {}).eval()

    @torch.inference_mode()
    def run_encoder(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The run's encoder."""
        assert self.padded is not None
        with torch.autocast("cpu", dtype=torch.bfloat16) if self.low else nullcontext():
            found: NDArray[Any] = self.padded(*map(torch.from_numpy, inputs.values())).float().numpy()
        return found

    @torch.inference_mode()
    def run_scorer(self, method: str, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The run's head, as predicted."""
        found: NDArray[Any] = self.plain(*map(torch.from_numpy, inputs.values()))[0].numpy()
        return found


def latencies(rows: TestRows, folders: Mapping[str, Path], repeats: int) -> list[list[Any]]:
    """Rows of `COLUMNS`: a query encoded; a page of new items, texts and all; candidates whose vectors are kept.

    Args:
        rows: Test rows, for real words and features.
        folders: `onnx float32`, `onnx int8` -> their folders.
        repeats: Timed calls of each.
    """
    assembly, table = rows.assembly, []
    first = next(iter(folders.values()))
    before = torch.get_num_threads()
    try:
        for threads in THREADS:
            torch.set_num_threads(threads)
            engines: dict[str, Exported] = {BASE: InTorch(first, assembly)}
            if resolve_precision("auto", "cpu") == "bf16-mixed" and engines[BASE].kind != "none":
                engines["torch bfloat16"] = InTorch(first, assembly, low=True)
            engines |= {name: Exported(folder, threads, verify=False) for name, folder in folders.items()}
            for what, calls in _questions(rows, engines).items():
                times = {name: [seconds * 1e3 for seconds in found] for name, found in _timed(calls, repeats).items()}
                base = float(np.median(times[BASE]))
                for name, found in times.items():
                    p50, p99 = np.percentile(found, [50, 99]).tolist()
                    table.append([threads, what, name, round(p50, 3), round(p99, 3), round(p50 / base, 3)])
    finally:
        torch.set_num_threads(before)
    return table


def _timed(calls: Mapping[str, Callable[[int], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, engines in turn, after two calls that nobody counts."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-2, repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call(turn)
            if turn >= 0:
                found[name].append(time.perf_counter() - start)
    return found


def _questions(rows: TestRows, engines: Mapping[str, Exported]) -> dict[str, dict[str, Callable[[int], Any]]]:
    """What is asked -> engine -> the call, of turn t."""
    kind = next(iter(engines.values())).kind
    store, texts = rows.data.store, rows.data.texts
    words = store.text("queries", texts["query"]) if kind != "none" else [""]
    titles = store.text("items", texts["item"]) if kind != "none" and "item" in texts else [""]
    asked = [words[q] for q in np.unique(store.column("query")[rows.rows])] if kind != "none" else words
    items = store.column("item")[rows.rows]
    page, many = rows.repeated(PAGE), rows.repeated(CANDIDATES)

    def query(model: Exported, turn: int) -> None:
        model.encode([asked[turn % len(asked)]])

    def new_items(model: Exported, turn: int) -> None:
        place = (np.arange(PAGE) + turn * PAGE) % len(items)
        model.score(asked[turn % len(asked)], [titles[items[p] % len(titles)] for p in place], **page)

    def kept_items(model: Exported, turn: int) -> None:
        model.score(asked[turn % len(asked)], vectors, **many)

    told = {f"a page of {PAGE} new items": new_items}
    if kind == "twin":
        some = np.unique(items)[:CANDIDATES]
        vectors = next(iter(engines.values())).encode([titles[i] for i in some])[np.arange(CANDIDATES) % len(some)]
        told = {"a query": query, **told, f"{CANDIDATES:,} items with kept vectors": kept_items}
    return {what: {name: partial(ask, model) for name, model in engines.items()} for what, ask in told.items()}
