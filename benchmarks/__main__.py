"""`python -m benchmarks [--quick]`: ratios against named peers, all in one run; a record, and one line of JSON."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import machine, sections

KEYS = (
    *("twin_vs_hf", "twin_token_ratio", "twin_time_to_auc_vs_hf", "twin_homedepot_vs_hf", "cross_vs_hf"),
    *("twin_vs_textbook", "mfu_fp32_minilm", "mfu_bf16_minilm", "mfu_fp32_bert_base", "mfu_bf16_bert_base"),
    *("boundary_top2_speedup", "boundary_top1_speedup", "boundary_frozen_speedup", "double_rows_cost"),
    *("adalora_memory_vs_full", "rss_20m_vs_1m", "second_start_seconds", "data_wait_share", "rerank_1000_ms"),
)
RECORDS = Path(__file__).parent / "records"
PACKAGES = ("torch", "transformers", "peft", "lightning", "numpy")


def main() -> None:
    """Measure every section, write the record, print the keys."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer steps and batch sizes; under 8 minutes on 2 cores")
    parser.add_argument("--only", default="", help="names of sections, separated by commas")
    chosen = parser.parse_args()
    console = Console(stderr=True)
    wanted: dict[str, Callable[[bool], sections.Found]] = {
        name: section for name, section in sections.ALL.items() if not chosen.only or name in chosen.only.split(",")
    }
    keys: dict[str, float | None] = dict.fromkeys(KEYS)
    details: dict[str, Any] = {}
    for name, section in wanted.items():
        begun = time.perf_counter()
        try:
            found = section(chosen.quick)
        except sections.NotMeasured as reason:
            console.print(f"{name}: not measured ({reason})")
            details[name] = {"not_measured": str(reason)}
            continue
        keys |= found.keys
        details[name] = found.details | {"seconds": round(time.perf_counter() - begun, 1)}
        console.print(_table(name, found.keys, details[name]["seconds"]))
    record = {
        "machine": machine.name(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": chosen.quick,
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "threads": torch.get_num_threads(),
        "keys": keys,
        "sections": details,
    }
    if not chosen.only:
        RECORDS.mkdir(exist_ok=True)
        path = RECORDS / f"{record['machine']}-{record['at'][:10]}{'-quick' if chosen.quick else ''}.json"
        path.write_text(json.dumps(record, indent=1) + "\n")
        console.print(f"record: {path}")
    print(json.dumps(keys))


def _table(name: str, keys: dict[str, float | None], seconds: float) -> Table:
    table = Table("key", "value", title=f"{name} ({seconds:.0f} s)", title_justify="left")
    for key, value in keys.items():
        table.add_row(key, "null" if value is None else f"{value:.3g}")
    return table


def _commit() -> str:
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
