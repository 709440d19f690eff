"""What is measured, section by section: each gives its keys and what a record keeps of how they came about."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks import auc, machine, memory, rerank, scale
from benchmarks.flops import step_flops
from benchmarks.measure import Contestant, Rounds, alternate, median_seconds, ratio, summary, waiting_share
from benchmarks.ours import Ours
from benchmarks.peers.hf import HFTrainer
from benchmarks.peers.st import SentenceTransformers
from benchmarks.peers.textbook import TextbookLoop
from benchmarks.rows import rows_per_request
from benchmarks.tokens import token_ratio

BF16, FP32 = "bf16-mixed", "32-true"
KEY_ROWS = 2048
"""Rows of a batch where keys are measured."""
TARGET_AUC = 0.76
MICRO = 256
"""Rows of a forward where the peer is also let accumulate the batch, which suits its caches better."""
PLAIN = ("data.unique=false", "backbone.packed=false", "backbone.remember=0", "backbone.cache=never")
SHARED = Path(__file__).parents[2] / "shared" / "data"


class NotMeasured(Exception):  # noqa: N818
    """A section that cannot be measured here, and why."""


@dataclass(frozen=True)
class Found:
    """A section's keys and details."""

    keys: dict[str, float | None]
    details: dict[str, Any] = field(default_factory=dict)


@cache
def folder() -> str:
    """Where logs, and what is computed of them, lie for the time of the run."""
    return tempfile.mkdtemp(prefix="funneltune-bench-")


def ours(*words: str, rows: int, precision: str, tuning: str = "lora", experiment: str = "quickstart") -> Ours:
    """Our side."""
    return Ours(
        f"experiment={experiment}",
        f"tuning={tuning}",
        "backbone.dropout=0",
        f"trainer.precision={precision}",
        f"data.rows_per_batch={rows}",
        f"data.cache_dir={folder()}",
        *words,
    )


@cache
def best_precision() -> str:
    """bfloat16 where the machine multiplies it natively."""
    from funneltune.runs.precision import resolve_precision

    return resolve_precision("auto", "gpu" if torch.cuda.is_available() else "cpu")


def against_peers(quick: bool) -> Found:
    """`twin` against transformers' Trainer with PEFT, the textbook loop, and our own plain path."""
    keys: dict[str, float | None] = {}
    details: dict[str, Any] = {}
    grid = [(KEY_ROWS, best_precision())]
    if not quick:
        grid += [(128, best_precision()), (1024, best_precision()), (4096, best_precision()), (KEY_ROWS, FP32)]
    for rows, precision in grid:
        mine = ours(rows=rows, precision=precision)
        sides: dict[str, Contestant] = {"ours": mine, "hf": HFTrainer(mine, batches=2)}
        if rows > MICRO and not quick:
            sides["hf_in_pieces"] = HFTrainer(mine, MICRO, batches=1)
        key = (rows, precision) == grid[0]
        if key:
            sides["textbook"] = TextbookLoop(mine, batches=2)
            sides["plain"] = ours(*PLAIN, rows=rows, precision=precision)
            if not quick:
                sides["sentence_transformers"] = SentenceTransformers(mine)
        steps = dict.fromkeys(sides, 1) | {"ours": 4}
        found = alternate(sides, 2 if key and not quick else 1, steps)
        tokens = token_ratio(mine, 3)
        details[f"{rows} rows, {precision}"] = summary(found, rows=rows, precision=precision) | {
            "tokens": tokens,
            "ratios": {name: ratio(found, "ours", name) for name in sides if name != "ours"},
        }
        if key:
            keys = {
                "twin_vs_hf": ratio(found, "ours", "hf"),
                "twin_token_ratio": tokens["ratio"],
                "twin_vs_textbook": ratio(found, "ours", "textbook"),
            }
    return Found(keys, details)


def time_to_auc(quick: bool) -> Found:
    """Seconds of training until the validation clicks reach an AUC, each side at the better of two batch sizes."""
    if quick:
        raise NotMeasured("takes ten minutes")
    seen: dict[str, list[tuple[int, float, float]]] = {}
    for rows in (128, 256):
        for name, train in (("ours", auc.ours), ("hf", auc.hf)):
            side = ours("scheduler=constant", rows=rows, precision=best_precision())
            seen[f"{name}, {rows} rows"] = train(side, TARGET_AUC)
    seconds = {name: points[-1][1] for name, points in seen.items() if points[-1][2] >= TARGET_AUC}
    best = {side: min(s for name, s in seconds.items() if name.startswith(side)) for side in ("ours", "hf")}
    curves = {name: [list(point) for point in points] for name, points in seen.items()}
    details = {"target_auc": TARGET_AUC, "seconds": seconds, "rows_seconds_auc": curves}
    return Found({"twin_time_to_auc_vs_hf": best["hf"] / best["ours"]}, details)


def long_logs(quick: bool) -> Found:
    """Logs of 1 and 20 million impressions."""
    if quick:
        raise NotMeasured("takes five minutes and 3 GB of disk")
    found = scale.both()
    peaks = [found[f"{impressions} second"]["peak_mb"] for impressions in (scale.LARGE, scale.SMALL)]
    second = found[f"{scale.LARGE} second"]["seconds"]
    return Found({"rss_20m_vs_1m": peaks[0] / peaks[1], "second_start_seconds": second}, found)


def cross(quick: bool) -> Found:
    """`cross` against transformers' Trainer with PEFT."""
    mine = ours("backbone.interaction=cross", rows=1024, precision=best_precision())
    found = alternate(
        {"ours": mine, "hf": HFTrainer(mine, batches=3)}, 1 if quick else 3, {"ours": 3, "hf": 1 if quick else 2}
    )
    return Found({"cross_vs_hf": ratio(found, "ours", "hf")}, summary(found, rows=1024, precision=best_precision()))


def homedepot(quick: bool) -> Found:
    """Real queries with few repeats."""
    home = Path(os.environ.get("FUNNELTUNE_DATA", SHARED)) / "homedepot" / "train.csv.gz"
    if not home.is_file():
        raise NotMeasured(f"{home} is not there; see configs/data/homedepot.yaml")
    mine = ours(f"data.path={home}", rows=1024, precision=best_precision(), experiment="homedepot")
    found = alternate(
        {"ours": mine, "hf": HFTrainer(mine, batches=3)}, 1 if quick else 3, {"ours": 3, "hf": 1 if quick else 2}
    )
    details = summary(found, rows=1024, precision=best_precision()) | {"tokens": token_ratio(mine, 3)}
    return Found({"twin_homedepot_vs_hf": ratio(found, "ours", "hf")}, details)


def model_flops(quick: bool) -> Found:
    """FLOPs of unique tokens per second, over the best matrix product's."""
    keys: dict[str, float | None] = {}
    details: dict[str, Any] = {}
    shape = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
    bert = ("backbone.pretrained=false", *(f"++backbone.architecture.{name}={size}" for name, size in shape.items()))
    for name, words, rows, steps in (("minilm", (), 1024, 4), ("bert_base", bert, 512, 2)):
        for precision, short in ((FP32, "fp32"), (BF16, "bf16")):
            for tuning in ("lora",) if quick else ("lora", "full"):
                side = ours(*words, rows=rows, precision=precision, tuning=tuning)
                peak = machine.matmul_peak(torch.float32 if precision == FP32 else torch.bfloat16)
                took = side.run(steps)
                peak = max(peak, machine.matmul_peak(torch.float32 if precision == FP32 else torch.bfloat16))
                flops = step_flops(side, steps + 1)[1:]
                shares = sorted(f / step.seconds / peak for f, step in zip(flops, took, strict=True))
                details[f"{name} {short} {tuning}"] = {"peak_gflops": peak / 1e9, "shares": shares}
                if tuning == "lora":
                    keys[f"mfu_{short}_{name}"] = shares[len(shares) // 2]
    return Found(keys, details)


def boundary(quick: bool) -> Found:
    """Steps that start from what is kept of the frozen layers, over steps that compute it."""
    keys: dict[str, float | None] = {}
    details: dict[str, Any] = {}
    for precision in (FP32,) if quick else (FP32, BF16):
        for name, tuning, words in (
            ("top2", "houlsby", ("tuning.top=2",)),
            ("top1", "houlsby", ("tuning.top=1",)),
            ("frozen", "frozen", ()),
        ):
            arguments: dict[str, Any] = {"rows": 1024, "precision": precision, "tuning": tuning}
            sides: dict[str, Contestant] = {
                "computed": ours(*words, "backbone.cache=never", "backbone.remember=0", **arguments),
                "kept": ours(*words, "backbone.cache=always", **arguments),
            }
            found = alternate(sides, 2, {"computed": 3, "kept": 6})
            details[f"{name} {precision}"] = summary(found, **arguments) | {"speedup": ratio(found, "kept", "computed")}
            if precision == FP32:
                keys[f"boundary_{name}_speedup"] = ratio(found, "kept", "computed")
    return Found(keys, details)


def double_rows(quick: bool) -> Found:
    """A step over twice the impressions of the same catalogue."""
    counts = (20, 40) if quick else (1, 2, 4, 8, 16, 20, 32, 40, 64, 128)
    seconds = rows_per_request(ours(rows=1024, precision=best_precision()), counts)
    return Found({"double_rows_cost": seconds[40] / seconds[20]}, {"seconds_by_rows_per_request": seconds})


def memory_of_methods(quick: bool) -> Found:
    """Peak memory on BERT-base shapes."""
    names = ("full", "adalora") if quick else tuple(memory.METHODS)
    found = {name: memory.measured(name) for name in names}
    return Found({"adalora_memory_vs_full": found["adalora"]["peak_mb"] / found["full"]["peak_mb"]}, found)


def data_wait(_: bool) -> Found:
    """Time before the batch is there, over the time of steps, on the quickstart as it is."""
    found: dict[str, Rounds] = {}
    for rows in (128, 1024):
        found[f"{rows}"] = [ours(rows=rows, precision=best_precision(), tuning="adalora").run(12 if rows == 128 else 4)]
    details = {f"{rows} rows": waiting_share(rounds) for rows, rounds in found.items()}
    return Found({"data_wait_share": waiting_share(found["128"])}, details | {"step": median_seconds(found["128"])})


def serving(_: bool) -> Found:
    """From a query's words to 1,000 candidates in order, on one core."""
    found = rerank.measured()
    return Found({"rerank_1000_ms": found["median_ms"]}, found)


ALL: dict[str, Callable[[bool], Found]] = {
    "twin": against_peers,
    "time to AUC": time_to_auc,
    "cross": cross,
    "homedepot": homedepot,
    "flops": model_flops,
    "boundary": boundary,
    "double rows": double_rows,
    "memory": memory_of_methods,
    "data wait": data_wait,
    "serving": serving,
    "long logs": long_logs,
}
