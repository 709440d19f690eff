"""What each rule for combining seeds and requests does on ties, on normal data: the rules before and the one in use.

`python -m benchmarks.rules` takes seconds and adds `rules` to experiments/verdicts/found.json.

A difference of two equal methods is drawn, with estimates of its two variances: the spread over seeds, with s - 1
degrees of freedom, and the sampling variance over requests, with 199. No bootstrap is drawn: the percentile interval of
the two-level bootstrap is taken at its limit of many draws, 1.96 times the root of (s - 1) / s spread + sampling.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy import special

from benchmarks.verdicts import FOUND, commit
from funneltune.metrics.intervals import Sources, crossed

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1.0)
"""Of the true variance, what the seeds make."""
SEEDS = (2, 3, 5, 10)
CLUSTERS, DRAWS, DRAWS_OF_OURS = 200, 200_000, 20_000


def false_positives(seeds: int, share: float, rng: np.random.Generator) -> dict[str, float]:
    """Shares of ties that each rule calls a difference at a level of 5%."""
    values = rng.normal(0, np.sqrt(seeds * share), (DRAWS, seeds)) + rng.normal(0, np.sqrt(1 - share), (DRAWS, 1))
    estimate, spread = values.mean(axis=1), values.var(axis=1, ddof=1) / seeds
    sampling = (1 - share) * rng.chisquare(CLUSTERS - 1, DRAWS) / (CLUSTERS - 1)
    total = spread + sampling
    df = total**2 / (spread**2 / (seeds - 1) + sampling**2 / (CLUSTERS - 1))
    ours = [
        crossed(list(v), Sources(float(s), 0.0), CLUSTERS, 0.95, "").p_value < 0.05
        for v, s in zip(values[:DRAWS_OF_OURS], sampling[:DRAWS_OF_OURS], strict=True)
    ]
    return {
        "spread alone": _share(estimate, spread, np.full(DRAWS, seeds - 1.0)) if share else 0.0,
        "sampling alone": _share(estimate, sampling, np.full(DRAWS, CLUSTERS - 1.0)) if share < 1 else 1.0,
        "Welch-Satterthwaite (before)": _share(estimate, total, df),
        "percentile two-level bootstrap (before, from 10 seeds on)": float(
            (np.abs(estimate) > 1.96 * np.sqrt((seeds - 1) / seeds * spread + sampling)).mean()
        ),
        "crossed (now)": float(np.mean(ours)),
    }


def _share(estimate: NDArray, variance: NDArray, df: NDArray) -> float:
    return float((2 * special.stdtr(df, -np.abs(estimate) / np.sqrt(variance)) < 0.05).mean())


def main() -> None:
    """Every number of seeds and share; the record."""
    rng = np.random.default_rng(0)
    found = {
        f"{seeds} seeds": {f"seeds make {share:.0%}": false_positives(seeds, share, rng) for share in SHARES}
        for seeds in track(SEEDS, "rules")
    }
    worst = {
        seeds: {rule: max(row[rule] for row in rows.values()) for rule in next(iter(rows.values()))}
        for seeds, rows in found.items()
    }
    FOUND.parent.mkdir(parents=True, exist_ok=True)
    record = json.loads(FOUND.read_text()) if FOUND.is_file() else {}
    rules = {
        "commit": commit(),
        "draws": DRAWS,
        "draws of the rule in use": DRAWS_OF_OURS,
        "worst": worst,
        "all": found,
    }
    FOUND.write_text(json.dumps(record | {"rules": rules}, indent=1) + "\n")
    print(json.dumps(worst, indent=1))


if __name__ == "__main__":
    main()
