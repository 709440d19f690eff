"""What a GPU makes of it: `python -m benchmarks.gpu` trains short runs of each method, precision and compiler setting.

Every run is `funneltune train` on the simulated log (`runs.train`, Efficiency's clock). The record is written after
each, so that what was measured stays if the time runs out; what would begin after `--seconds` is left out and named.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import machine

METHODS = ("full", "houlsby", "lora", "adalora")
PRECISIONS = ("32-true", "bf16-mixed")
SHAPES: dict[str, tuple[str, ...]] = {
    "minilm": (),
    "bert-base": (
        "backbone.pretrained=false",
        "++backbone.architecture={num_hidden_layers:12,hidden_size:768,num_attention_heads:12,intermediate_size:3072}",
    ),
}
"""The second with random weights: its vocabulary is MiniLM's."""
STEPS = {("minilm", False): 60, ("minilm", True): 40, ("bert-base", False): 40, ("bert-base", True): 30}
"""By backbone, and whether its layers are compiled."""
QUICK = (
    *("data.source.impressions=4000", "data.source.items=200", "data.source.queries=50", "data.source.shoppers=100"),
    *("data.rows_per_batch=200", "+data.leaks=ignore", "backbone.pretrained=false"),
    "callbacks.history.every_n_steps=2",
    "++backbone.architecture={num_hidden_layers:2,hidden_size:64,num_attention_heads:2,intermediate_size:128}",
)
LOG = ("data.source.impressions=200000", "data.split.validation=0.05", "data.split.test=0.02")
WARM_UP = 5


@dataclass(frozen=True)
class Cell:
    """One run: a point of the grid, or a variant of one."""

    backbone: str
    tuning: str
    precision: str
    compiled: bool = False
    variant: str = ""
    overrides: tuple[str, ...] = field(default=())

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return STEPS[self.backbone, self.compiled]


VARIANTS = (
    *(("minilm", f"token_budget={n}", (f"backbone.token_budget={n}",), "bf16-mixed") for n in (4096, 65536)),
    ("minilm", "unique=false", ("data.unique=false",), "bf16-mixed"),
    ("minilm", "packed=false", ("backbone.packed=false",), "bf16-mixed"),
    ("bert-base", "token_budget=4096", ("backbone.token_budget=4096",), "bf16-mixed"),
    ("bert-base", "tf32", (), "32-true"),
)
"""Backbone, name, overrides and precision; all with LoRA, not compiled."""


def grid(backbone: str) -> list[Cell]:
    """Every method in every precision."""
    return [Cell(backbone, m, p) for m in METHODS for p in PRECISIONS]


def cells() -> Iterator[Cell | None]:
    """What matters most first; None: the resumed runs' turn."""
    yield from grid("minilm")
    yield None
    yield from grid("bert-base")
    yield from (Cell(backbone, "lora", p, False, name, more) for backbone, name, more, p in VARIANTS)
    for precision in reversed(PRECISIONS):
        for methods in (("lora", "full", "houlsby"), ("adalora",)):  # its ranks change, and it is compiled anew
            yield from (Cell(backbone, m, precision, compiled=True) for m in methods for backbone in SHAPES)


def overrides(cell: Cell, chosen: argparse.Namespace, cache: Path) -> list[str]:
    """What `funneltune train` would be given."""
    home = (f"backbone.name={chosen.minilm}", "backbone.fallback=null") if chosen.minilm else ()
    weights = not chosen.minilm or (Path(chosen.minilm) / "model.safetensors").is_file()
    return [
        *("experiment=quickstart", "baselines=[]", "logger=none", "trainer=gpu", "trainer.enable_progress_bar=false"),
        *("trainer.enable_checkpointing=false", "trainer.max_epochs=-1", "test=false", "data.rows_per_batch=2048"),
        *(f"tuning={cell.tuning}", f"backbone.compile={str(cell.compiled).lower()}", f"data.cache_dir={cache}"),
        *(f"trainer.precision={cell.precision}", f"trainer.max_steps={8 if chosen.quick else cell.steps}"),
        *(f"trainer.accelerator={'cpu' if chosen.device == 'cpu' else 'gpu'}", "~callbacks.efficiency"),
        *(*home, *LOG, *(() if weights else ("backbone.pretrained=false",)), *SHAPES[cell.backbone]),
        *(*(QUICK if chosen.quick else ()), *cell.overrides),
    ]


def measure(cell: Cell, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train one cell; its figures, or why there are none."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()  # one code object for all models: their graphs would count towards one limit
    counters.clear()
    torch.set_float32_matmul_precision("high" if cell.variant == "tf32" else "highest")
    release()
    begun = time.perf_counter()
    try:
        found = figures(cell, chosen, folder)
    except Exception as error:  # one cell's fault must not cost the others'
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]}
    if cell.compiled:
        found["compiler"] = {"graphs": counters["stats"]["unique_graphs"], "breaks": dict(counters["graph_break"])}
    return asdict(cell) | found | {"seconds": round(time.perf_counter() - begun, 1)}


def figures(cell: Cell, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What a run's clock and record say of it."""
    from funneltune.callbacks import Efficiency
    from funneltune.cli.compose import compose_config
    from funneltune.runs import train

    watch, run_dir = Efficiency(), folder / f"run-{time.time_ns()}"
    cfg = compose_config(overrides(cell, chosen, folder / "cache"))
    record = train(cfg, run_dir, [watch])
    kept = {name: values.tolist() for name, values in watch.state_dict().items() if isinstance(values, torch.Tensor)}
    seconds, rows, tokens = (kept[name][3 if chosen.quick else WARM_UP :] for name in ("seconds", "rows", "tokens"))
    measured = {key: entry["value"] for key, entry in record.metrics["validation"].items()}
    losses = [value for key, value in measured.items() if key.endswith("log_loss")]
    found = {
        "cost": record.cost,
        "step_ms": 1000 * statistics.median(seconds),
        "rows_per_second": statistics.median(n / s for n, s in zip(rows, seconds, strict=True)),
        "tokens_per_second": statistics.median(n / s for n, s in zip(tokens, seconds, strict=True)),
        "steps_ms": [round(1000 * s, 3) for s in kept["seconds"]],
        "validation": measured,
        "finite": bool(losses) and all(map(math.isfinite, losses)) and finite_history(run_dir),
        "parameters": record.parameters,
    }
    if cell.tuning == "adalora":
        ranks = (record.rank_pattern or {}).values()
        found["rank"] = {"total": sum(ranks), "target": int(cfg.tuning.target_rank) * len(ranks)}
    return found


def finite_history(run_dir: Path) -> bool:
    """Whether every training loss of the run's history is finite."""
    import pandas as pd

    history = pd.read_parquet(run_dir / "history.parquet")
    losses = history.loc[history["name"].str.startswith("train/loss"), "value"]
    return len(losses) > 0 and bool(losses.map(math.isfinite).all())


def release() -> None:
    """Nothing of the run before is left on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# --- what is written and shown ---------------------------------------------------------------------------------------


def agreement(seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Validation losses of each run beside those of the same method in float32, not compiled."""
    plain = {(c["backbone"], c["tuning"]): c for c in seen if _is_reference(c)}
    found = []
    for cell in seen:
        one = plain.get((cell["backbone"], cell["tuning"]))
        if "error" in cell or cell["variant"] or one is None or one is cell:
            continue
        keys = [key for key in one["validation"] if key.endswith("log_loss") and key in cell["validation"]]
        found.append(
            {key: cell[key] for key in ("backbone", "tuning", "precision", "compiled")}
            | {key: cell["validation"][key] - one["validation"][key] for key in keys}
        )
    return found


def _is_reference(cell: Mapping[str, Any]) -> bool:
    return "error" not in cell and cell["precision"] == "32-true" and not (cell["compiled"] or cell["variant"])


def table(seen: list[dict[str, Any]]) -> Table:
    """One line a run."""
    found = Table("backbone", "tuning", "precision", "compiled", "step ms", "rows/s", "tokens/s", "wait", "peak MB")
    for name in ("growth MB", "ctr log loss", "rank", "finite", "s"):
        found.add_column(name)
    for cell in seen:
        kind = [cell["backbone"], f"{cell['tuning']} {cell['variant']}".strip(), cell["precision"]]
        kind.append("yes" if cell["compiled"] else "no")
        if "error" in cell:
            found.add_row(*kind, cell["error"][:60])
            continue
        cost, rank = cell["cost"], cell.get("rank")
        found.add_row(
            *(*kind, f"{cell['step_ms']:.2f}", f"{cell['rows_per_second']:,.0f}", f"{cell['tokens_per_second']:,.0f}"),
            *(f"{cost['data_wait_share']:.3f}", f"{cost['peak_memory_bytes'] / 2**20:,.0f}"),
            f"{cost['peak_memory_growth_bytes'] / 2**20:,.0f}",
            f"{cell['validation'].get('ctr/log_loss', math.nan):.5f}",
            f"{rank['total']} of {rank['target']}" if rank else "",
            *("yes" if cell["finite"] else "NO", f"{cell['seconds']:.0f}"),
        )
    return found


def run(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every cell that begins in time; the record is written after each."""
    from benchmarks.ours import quiet
    from funneltune.errors import Interrupted

    quiet()
    begun, out = time.monotonic(), Path(chosen.out)
    record: dict[str, Any] = {
        "machine": machine.name(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": sys.version.split()[0], "cuda": torch.version.cuda} | versions(),
        "pretrained": not chosen.quick and (not chosen.minilm or (Path(chosen.minilm) / "model.safetensors").is_file()),
        "cells": [],
        "resumed": [],
        "left_out": [],
    }
    for cell in cells():
        if time.monotonic() - begun > chosen.seconds:
            record["left_out"].append("resumed" if cell is None else asdict(cell))
            continue
        if chosen.match not in ("resumed" if cell is None else f"{cell}"):
            continue
        if cell is None:
            record["resumed"] = resumed_apart(chosen)
        else:
            try:
                record["cells"].append(measure(cell, chosen, folder))
            except Interrupted:  # a signal: what was measured is shown
                record["left_out"].append(asdict(cell))
                break
            print(brief(record["cells"][-1]), flush=True)
        record["agreement"] = agreement(record["cells"])
        record["seconds"] = round(time.monotonic() - begun, 1)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n")
    return record


def resumed_apart(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """`benchmarks.resumed` in a process of its own: cuBLAS reads how it is to be deterministic once."""
    words = [sys.executable, "-m", "benchmarks.resumed", "--device", chosen.device, "--minilm", chosen.minilm]
    words += ["--quick"] if chosen.quick else []
    environment = os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr[-2000:])
    if done.returncode:
        return [{"error": done.stderr[-400:]}]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def brief(cell: Mapping[str, Any]) -> str:
    """A run in one line, as soon as it is over."""
    kind = f"{cell['backbone']} {cell['tuning']} {cell['precision']} {'compiled ' if cell['compiled'] else ''}"
    told = cell.get("error") or f"{cell['step_ms']:.2f} ms, {cell['rows_per_second']:,.0f} rows/s, {cell['seconds']} s"
    return f"{kind}{cell['variant']}: {told}"


def versions() -> dict[str, str]:
    """Of what decides speed."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "peft", "lightning", "numpy")}


def arguments(told: str | None) -> argparse.ArgumentParser:
    """What this and `benchmarks.resumed` are given."""
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--minilm", default="", help="folder of MiniLM's files; without weights, random ones are drawn")
    parser.add_argument("--device", default="", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """Measure what fits into the time, write the record, print the tables."""
    parser = arguments(__doc__)
    parser.add_argument("--out", default="", help="the record (default benchmarks/records/MACHINE-DATE.json)")
    parser.add_argument("--seconds", type=float, default=3600, help="no run begins later than this")
    parser.add_argument("--match", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.device != "cpu" and not torch.cuda.is_available():
        print("benchmarks.gpu: no CUDA device here; nothing was measured")
        return 1
    if not chosen.out:
        chosen.out = str(Path(__file__).parent / "records" / f"{machine.name()}-{datetime.now(UTC):%Y-%m-%d}.json")
    with TemporaryDirectory(prefix="funneltune-gpu-") as folder:
        record = run(chosen, Path(folder))
    Console(width=170).print(table(record["cells"]))
    for key in ("agreement", "resumed", "left_out"):
        for line in record.get(key, []):
            print(f"{key}: {json.dumps(line)}")
    print(f"record: {chosen.out}, {record.get('seconds', 0)} s, {record['machine']}")
    return int(any("error" in cell or not cell["finite"] for cell in record["cells"]))


if __name__ == "__main__":
    sys.exit(main())
