"""What a run is measured by, in its record and beside it: metrics, calibration, oracle, baselines, predictions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from funneltune.files import whole_file
from funneltune.metrics import (
    METHODS,
    Scorer,
    against_baselines,
    calibrate,
    ceiling,
    compact,
    metric_keys,
    score_metrics,
    write_statistics,
)
from funneltune.records import STATISTICS_NAME, RunRecord
from funneltune.runs.assemble import Assembly
from funneltune.runs.baselines import score_baselines


def write_down(assembly: Assembly, run_dir: Path, record: RunRecord) -> None:
    """Take what the module measured into the record, and write what lies beside it.

    Where the test split was left alone, only the metrics and the calibration of the validation split are there.
    """
    module, cfg = assembly.module, assembly.cfg
    splits = [split for split in ("validation", "test") if split in module.measured]
    record.metrics = {split: module.measured[split] for split in splits}
    record.calibration = calibrate(
        {split: module.predicted[split] for split in splits},
        module.funnel,
        methods=wanted_methods(cfg),
        bins=int(module.evaluation.get("bins", 15)),
    )
    if "test" in splits:
        _hold_against_baselines(assembly, run_dir, record)


def wanted_methods(cfg: DictConfig) -> list[str]:
    """The scalings that a config asks for; all of them where it is from before there was the key."""
    asked = cfg.get("calibration")
    return [str(method) for method in (METHODS if asked is None else asked.methods)]


def _hold_against_baselines(assembly: Assembly, run_dir: Path, record: RunRecord) -> None:
    """Score oracle and baselines on the test rows, and write the predictions and what a verdict needs of them."""
    module, cfg = assembly.module, assembly.cfg
    columns = module.predicted["test"]
    ks = tuple(module.evaluation.get("ks", (10,)))
    record.oracle = ceiling(columns, module.funnel, ks=ks)
    scores = score_baselines(list(cfg.baselines or []), assembly)
    record.baselines = {name: score_metrics(columns, module.funnel, score, ks=ks) for name, score in scores.items()}
    threshold = module.evaluation.get("threshold", 0.5)
    statistics = compact(columns, module.funnel, ks=ks, scores=scores, threshold=threshold)
    write_statistics(run_dir / STATISTICS_NAME, statistics)
    compared = [key for key in metric_keys(statistics) if key.endswith(("/auc", *(f"/ndcg@{k}" for k in ks)))]
    record.comparisons = [c.to_json() for c in against_baselines(statistics, record.name, compared)]
    write_predictions(run_dir / "predictions.parquet", columns | _score_columns(scores))


def _score_columns(scores: Mapping[str, Scorer]) -> dict[str, Any]:
    """`score_bm25`, and `score_trees_click` where a baseline scores each rate."""
    found: dict[str, Any] = {}
    for name, score in scores.items():
        parts = {f"_{stem}": s for stem, s in score.items()} if isinstance(score, Mapping) else {"": score}
        found |= {f"score_{name}{suffix}": values for suffix, values in parts.items()}
    return found


def write_predictions(path: Path, columns: dict[str, Any]) -> None:
    """One row per impression, in store order; Parquet with page checksums, whole or not at all."""
    with whole_file(path) as part:
        pd.DataFrame(columns).to_parquet(part, index=False, write_page_checksum=True)


def now() -> str:
    """The time as records hold it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
