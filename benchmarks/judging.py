"""How long it takes to judge a large study, and in how much memory: 200 runs of 100,000 predictions each.

`python -m benchmarks.judging` makes such studies, in requests of one row and of twenty, reports on each in a process of
its own with one thread, and adds what it saw to experiments/verdicts/found.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.verdicts import FOUND, commit
from funneltune.funnel import TaskFunnel
from funneltune.metrics import compact, write_statistics
from funneltune.records import SCHEMA_VERSION, RunRecord, write_json

ROWS, CELLS, SEEDS, PAGES = 100_000, 20, 10, (1, 20)
METRICS = ("ctr/auc", "cvr/auc", "ctcvr/auc", "ctr/ndcg@10", "ctcvr/ndcg@10", "ctr/log_loss")
FUNNEL = TaskFunnel.from_config(
    {"click": {"rate": "ctr"}, "purchase": {"given": ["click"], "rate": "cvr", "joint_rate": "ctcvr"}}
)


def write(folder: Path, page: int) -> None:
    """A study of made-up runs on one log: each run's statistics are those of its own noisy scores."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(2, ROWS))
    click = rng.random(ROWS) < 1 / (1 + np.exp(2.5 - signal[0]))
    purchase = click & (rng.random(ROWS) < 1 / (1 + np.exp(2.0 - signal[1])))
    request = np.repeat(np.arange(ROWS // page), page)
    log = {"request": request, "user": request, "click": click.astype(float), "purchase": purchase.astype(float)}
    runs = []
    for cell in track(range(CELLS), f"requests of {page}: writing", transient=True):
        for seed in range(SEEDS):
            logits = signal * (1 + cell / 50) + rng.normal(0, 1, signal.shape) - np.array([[2.5], [2.0]])
            p = 1 / (1 + np.exp(-logits))
            said = {"p_click": p[0], "p_purchase_given_click": p[1], "p_click_and_purchase": p[0] * p[1]}
            statistics = compact(log | said, FUNNEL)
            name = f"cell={cell}__seed={seed}"
            write_statistics(folder / "records" / f"{name}.npz", statistics)
            record = RunRecord(
                name="large", status="finished", cell=f"cell={cell}", seed=seed, funnel=FUNNEL.to_config()
            )
            record.metrics = {
                "test": {key: {"value": _value(statistics, key)} for key in METRICS if _has(statistics, key)}
            }
            record.data = {"fingerprint": "one", "rows": {"train": 5 * ROWS, "test": ROWS}}
            record.write(folder / "records" / f"{name}.json")
            runs.append({"cell": record.cell, "seed": seed, "status": "finished", "record": f"records/{name}.json"})
    plan = {"name": "large", "baseline": "cell=0", "metric": METRICS[0], "metrics": list(METRICS)}
    write_json(
        folder / "study.json", {"schema_version": SCHEMA_VERSION, "study": plan, "runs": runs, "comparisons": []}
    )


def _has(statistics: dict[str, np.ndarray], key: str) -> bool:
    return f"{key}:positives" in statistics or f"{key}:sum" in statistics


def _value(statistics: dict[str, np.ndarray], key: str) -> float:
    parts = ("among_negatives", "positives") if f"{key}:positives" in statistics else ("sum", "weight")
    one, other = (float(statistics[f"{key}:{part}"].sum(dtype=np.float64)) for part in parts)
    return one / other


def judge(folder: Path) -> dict[str, float]:
    """Report on a study; seconds from the end of the imports, by the clock and of the processor, and peak memory."""
    import resource

    from funneltune.reporting import report

    begun, worked = time.perf_counter(), time.process_time()
    found = report(folder)
    return {
        "seconds": round(time.perf_counter() - begun, 1),
        "processor_seconds": round(time.process_time() - worked, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "comparisons": len(found.comparisons),
    }


def main() -> None:
    """Both page lengths, one after the other."""
    found: dict[str, Any] = {}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    for page in PAGES:
        with tempfile.TemporaryDirectory(prefix="funneltune-judging-") as folder:
            write(Path(folder), page)
            words = [sys.executable, "-m", "benchmarks.judging", folder]
            said = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | one_thread).stdout
            found[f"requests of {page}"] = json.loads(said.splitlines()[-1])
            print(f"requests of {page}: {found[f'requests of {page}']}")
    record = json.loads(FOUND.read_text()) if FOUND.is_file() else {}
    content = {"commit": commit(), "runs": CELLS * SEEDS, "predictions": ROWS, "metrics": list(METRICS), "found": found}
    FOUND.write_text(json.dumps(record | {"judging": content}, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(judge(Path(sys.argv[1]))))
    else:
        main()
