"""From a query's words to a sorted list of 1,000 candidates, on one core: `python -m benchmarks.rerank`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

REPEATS, CANDIDATES = 200, 1000


def measure() -> dict[str, float]:
    """Median and 95th percentile in milliseconds, over queries of the log, each once; the head is not trained."""
    import numpy as np
    import torch

    from benchmarks.ours import composed, quiet
    from funneltune.decisions import Ranker
    from funneltune.decisions.ranking import encode_items
    from funneltune.runs import assemble

    quiet()
    cfg = composed("experiment=quickstart", "tuning=frozen", f"data.cache_dir={tempfile.mkdtemp()}")
    assembly = assemble(cfg)
    assembly.data.setup()
    parts = [(texts.numbers, vectors) for texts, vectors in encode_items(assembly)]
    numbers, vectors = (torch.cat(found) for found in zip(*parts, strict=True))
    ranker = Ranker(assembly, vectors[numbers.argsort()])
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    queries = assembly.data.store.text("queries", assembly.data.texts["query"])
    seconds = []
    for number in rng.permutation(len(queries))[: REPEATS + 20]:
        candidates = rng.permutation(len(ranker.keys))[:CANDIDATES]
        begun = time.perf_counter()
        ranked = ranker.rank(queries[number], top=CANDIDATES, items=candidates)
        seconds.append(time.perf_counter() - begun)
        assert len(ranked) == CANDIDATES
    kept = sorted(1000 * s for s in seconds[20:])
    return {"median_ms": statistics.median(kept), "p95_ms": kept[int(0.95 * len(kept))], "queries": len(kept)}


def measured() -> dict[str, float]:
    """The same in a process of its own that may use one core."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    words = [sys.executable, "-m", "benchmarks.rerank"]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(measure()))
