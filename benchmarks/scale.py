"""Logs of 1 and 20 million impressions: peak memory of training, and how long a second start takes.

`python -m benchmarks.scale IMPRESSIONS FOLDER` trains once in its own process and prints what was seen.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SMALL, LARGE, STEPS, EVALUATED = 1_000_000, 20_000_000, 200, 20_000


def measure(impressions: int, folder: Path) -> dict[str, float]:
    """`funneltune train`, from config to record, with evaluations of one size whatever the log's.

    Seconds run from the end of the imports to the end of the first optimizer step.
    """
    import lightning as L

    import funneltune.cli.train  # noqa: F401 (what the command imports)
    from benchmarks.memory import status
    from benchmarks.ours import quiet
    from funneltune.cli.compose import compose_config
    from funneltune.runs import train

    quiet()
    begun, seen = time.perf_counter(), {}

    class FirstStep(L.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            seen.setdefault("seconds", time.perf_counter() - begun)
            seen.setdefault("peak_mb_at_first_step", status("VmHWM"))

    cfg = compose_config(
        [
            *("experiment=quickstart", "tuning=lora", "logger=none", "trainer.enable_progress_bar=false"),
            *(f"data.source.impressions={impressions}", f"data.cache_dir={folder / 'cache'}"),
            *(f"data.split.{split}={EVALUATED / impressions}" for split in ("validation", "test")),
            *(f"trainer.max_steps={STEPS}", "trainer.max_epochs=-1", "trainer.val_check_interval=null"),
            f"run_dir={folder / f'run-{time.time_ns()}'}",
        ]
    )
    make = train.__globals__["wanted_callbacks"]
    train.__globals__["wanted_callbacks"] = lambda *given: [FirstStep(), *make(*given)]
    record = train(cfg, Path(cfg.run_dir))
    peak = max(record.cost["peak_memory_bytes"] / 2**20, status("VmHWM"), seen["peak_mb_at_first_step"])
    waited = record.cost["data_wait_share"]
    return seen | {
        "peak_mb": peak,  # the mark is reset when training begins and after each validation
        "anonymous_mb_at_end": status("RssAnon"),
        "data_wait_share": waited,
        "rows": float(record.data["rows"]["train"]),
    }


def measured(impressions: int, folder: Path) -> dict[str, float]:
    """The same in a fresh process."""
    words = [sys.executable, "-m", "benchmarks.scale", str(impressions), str(folder)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def both() -> dict[str, dict[str, float]]:
    """A first start of each log, which writes its store, and a second one."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="funneltune-scale-") as folder:
        for impressions in (SMALL, LARGE):
            for start in ("first", "second"):
                found[f"{impressions} {start}"] = measured(impressions, Path(folder) / str(impressions))
    return found


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
