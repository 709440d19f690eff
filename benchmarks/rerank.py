"""From a query's words to a sorted list of 1,000 candidates, on one core: `python -m benchmarks.rerank`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS, CANDIDATES = 200, 1000


def measure() -> dict[str, float]:
    """Median and 95th percentile in milliseconds, over queries of the log, each once; the head is not trained."""
    import numpy as np
    import torch

    from benchmarks.ours import composed, quiet
    from funneltune.data import Asked
    from funneltune.decisions import Scorer
    from funneltune.runs import assemble

    quiet()
    cfg = composed("experiment=quickstart", "tuning=frozen", f"data.cache_dir={tempfile.mkdtemp()}")
    assembly = assemble(cfg)
    assembly.data.setup()
    scorer = Scorer(assembly, {}, Path(tempfile.mkdtemp()))
    parts = [(texts.numbers, vectors) for texts, vectors in scorer.encoded_items()]
    numbers, vectors = (torch.cat(found) for found in zip(*parts, strict=True))
    scorer.item_vectors = vectors[numbers.argsort()].numpy()  # as a run's folder keeps them
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    queries = assembly.data.store.text("queries", assembly.data.texts["query"])
    seconds = []
    for number in rng.permutation(len(queries))[: REPEATS + 20]:
        candidates = rng.permutation(len(scorer.catalogue))[:CANDIDATES]
        begun = time.perf_counter()
        said = scorer.score([Asked(queries[number])], [candidates])[0]["ctcvr"]
        ranked = candidates[np.argsort(-said, kind="stable")]
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
