"""`python -m benchmarks.plot RECORD`: what a step costs by rows per request, as a picture beside the record."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt


def rows_per_request(record: Path) -> Path:
    """Seconds per step over the same texts, as requests show more rows; beside it what a step would cost if it followed
    the rows.
    """
    seen = json.loads(record.read_text())["sections"]["double rows"]["seconds_by_rows_per_request"]
    rows = sorted(map(int, seen))
    seconds = [1000 * seen[str(n)] for n in rows]
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    axes.plot(rows, seconds, "o-", color="#0072b2", label="measured: the same texts, more rows")
    axes.plot(rows, [seconds[0] * n / rows[0] for n in rows], "--", color="#999999", label="if cost followed rows")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(rows, [str(n) for n in rows])
    axes.set_xlabel("impressions per request (24 requests, the same catalogue)")
    axes.set_ylabel("forward and backward, ms")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    target = record.with_name(f"{record.stem}-rows-per-request.png")
    figure.savefig(target, dpi=150)
    return target


if __name__ == "__main__":
    print(rows_per_request(Path(sys.argv[1])))
