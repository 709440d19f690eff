"""The machine at hand: its name, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path

import torch

SIZES = ((512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 384, 1536), (4096, 768, 3072))
"""(m, k, n) of the products that are tried: squares, and a layer's own."""


def name() -> str:
    """A slug of processor and cores, or of the GPU."""
    if torch.cuda.is_available():
        found = torch.cuda.get_device_name()
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.is_file() else []
        model = next((line.partition(":")[2] for line in lines if line.startswith("model name")), platform.processor())
        found = f"{model} {len(os.sched_getaffinity(0))} cores"
    return re.sub(r"[^a-z0-9]+", "-", found.lower()).strip("-")


def matmul_peak(dtype: torch.dtype, seconds: float = 0.4) -> float:
    """The best floating-point operations per second of `SIZES`, each tried for about so many seconds."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    best = 0.0
    for m, k, n in SIZES:
        a, b = torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype)
        out = torch.mm(a, b)
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            _wait()
            once = time.perf_counter()
            for _ in range(4):
                torch.mm(a, b, out=out)
            _wait()
            best = max(best, 4 * 2.0 * m * k * n / (time.perf_counter() - once))
    return best


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
