"""What AdaLoRA keeps, and where: ranks per module and layer over the seeds of each cell, and how they fell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, combinations_with_replacement, product

import numpy as np
import pyarrow.compute as pc

from funneltune.files import read_parquet
from funneltune.metrics.ranks import agreement, attention_share, is_attention, layer_shares, likeness, placed
from funneltune.records import RecordFolder, StoredRun
from funneltune.reporting.sections import Section

PREFIX = "rank/"


def ranked(records: RecordFolder) -> dict[str, list[StoredRun]]:
    """The finished runs that have allocated ranks, by cell; LoRA's are all the same."""
    found = {
        cell: [run for run in runs if run.record.status == "finished" and len(set(pattern_of(run).values())) > 1]
        for cell, runs in records.cells.items()
    }
    return {cell: runs for cell, runs in found.items() if runs}


def ranks_section(records: RecordFolder, names: Mapping[str, str]) -> Section | None:
    """A row per cell that has ranks: how many are kept, in which modules and layers, and whether seeds agree."""
    rows = []
    for cell, runs in ranked(records).items():
        patterns = [pattern_of(run) for run in runs]
        total = np.mean([sum(pattern.values()) for pattern in patterns])
        empty = np.mean([sum(rank == 0 for rank in pattern.values()) for pattern in patterns])
        shares = [[attention_share(p), 1 - attention_share(p), *layer_shares(p)] for p in patterns]
        alike = agreement(patterns)
        rows.append(
            (
                names.get(cell, cell),
                f"{total:.0f} in {len(patterns[0])}",
                f"{empty:.1f}",
                *(_share([share[n] for share in shares]) for n in range(5)),
                "-" if np.isnan(alike) else f"{alike:+.2f}",
            )
        )
    if not rows:
        return None
    matrices = placed(pattern_of(next(iter(ranked(records).values()))[0]))
    even = np.mean([is_attention(module) for module, _ in matrices])
    return Section(
        "Where ranks are kept",
        ("", "ranks", "without", "attention", "feed-forward", "low", "middle", "high layers", "seeds agree"),
        tuple(rows),
        (
            "ranks: live at the end, in so many matrices; without: matrices that keep none; means over seeds, "
            "± standard deviation",
            f"an even allocation has {even:.0%} in attention and a third in the low, middle and high layers each",
            "seeds agree: mean correlation of two seeds' maps over the matrices; 1: the same map, 0: unrelated ones",
        ),
    )


def likeness_section(records: RecordFolder, names: Mapping[str, str]) -> Section | None:
    """A row for each two cells that have ranks: how far their maps lie apart; and for each cell, its seeds' maps."""
    patterns = {cell: [pattern_of(run) for run in runs] for cell, runs in ranked(records).items()}
    if len(patterns) < 2:
        return None
    rows = []
    for one, other in combinations_with_replacement(patterns, 2):
        same = one == other
        pairs = list(combinations(patterns[one], 2) if same else product(patterns[one], patterns[other]))
        apart, alike = likeness(pairs)
        if np.isnan(apart):
            continue
        rows.append(
            (
                names.get(one, one),
                "its own seeds" if same else names.get(other, other),
                f"{apart:.2f}",
                "-" if np.isnan(alike) else f"{alike:+.2f}",
            )
        )
    return Section(
        "How alike the maps of ranks are",
        ("", "and", "ranks apart", "correlation"),
        tuple(rows),
        (
            "ranks apart: mean absolute difference per matrix; both are means over all pairs of a run of one cell and "
            "one of the other",
            "two cells keep different matrices only if they lie further apart than a cell's own seeds do",
            "of cells whose budgets differ, the correlation alone tells",
        ),
    )


def rank_history(run: StoredRun) -> dict[int, dict[str, float]]:
    """Step -> live rank per matrix, from the run's history; empty where there is none."""
    if run.history is None:
        return {}
    kept = read_parquet(run.history, ["step", "name", "value"])
    kept = kept.filter(pc.starts_with(kept["name"], PREFIX))
    found: dict[int, dict[str, float]] = {}
    for step, name, value in zip(*(kept[column].to_pylist() for column in ("step", "name", "value")), strict=True):
        found.setdefault(step, {})[name.removeprefix(PREFIX)] = value
    return found


def pattern_of(run: StoredRun) -> dict[str, float]:
    """Live rank per matrix at the end; empty where the run has none."""
    return {name: float(rank) for name, rank in (run.record.rank_pattern or {}).items()}


def _share(values: Sequence[float]) -> str:
    spread = f" ±{100 * np.std(values, ddof=1):.0f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.0f}%{spread}"
