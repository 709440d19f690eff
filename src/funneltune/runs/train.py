"""Train one configuration and leave the run folder of the contract behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from funneltune.callbacks import BestCheckpoint, Efficiency, log_record, tracking
from funneltune.errors import RunError
from funneltune.metrics import Scorer, against_baselines, ceiling, compact, metric_keys, score_metrics, write_statistics
from funneltune.records import RECORD_NAME, STATISTICS_NAME, RunRecord
from funneltune.runs.assemble import Assembly, assemble, make_trainer, parameter_counts
from funneltune.runs.baselines import score_baselines
from funneltune.runs.check import check_config
from funneltune.runs.identity import as_plain, config_hash, git_commit, versions
from funneltune.runs.logs import train_log
from funneltune.runs.weights import save_weights


def train(cfg: DictConfig, run_dir: Path) -> RunRecord:
    """Train, evaluate on validation and test, and write the run folder.

    Nothing is written before the config is checked and the data and backbone are there. A run that fails later leaves
    its folder with status `failed` and the reason.

    Raises:
        RunError: if the folder exists already, or a step is not finite.
        FunnelError: whatever config, data or tuning method refuse.
    """
    check_config(cfg)
    # Lightning starts further ranks by replaying the command: they train along and leave the folder to the first.
    first_rank = int(os.environ.get("LOCAL_RANK", "0")) == 0
    if first_rank and run_dir.exists() and any(run_dir.iterdir()):
        raise RunError(f"run_dir={run_dir} exists and is not empty; name another folder or remove it.")
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    assembly = assemble(cfg)
    assembly.data.prepare_data()
    assembly.data.setup("fit")
    record = _new_record(cfg, run_dir, assembly)
    if not first_rank:
        with train_log(None):
            _fit_and_measure(assembly, run_dir, record, [])
        return record
    run_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, run_dir / "config.yaml", resolve=True)
    record.write(run_dir / RECORD_NAME)
    try:
        with train_log(run_dir):
            trackers: list[Logger] = [
                instantiate(node, _partial_=True)(save_dir=str(run_dir), config=record.config)
                for node in (cfg.logger or {}).values()
            ]
            with tracking(trackers):
                _fit_and_measure(assembly, run_dir, record, trackers)
                record.status, record.finished = "finished", _now()
                log_record(trackers, record)
    except BaseException as error:
        record.status, record.finished = "failed", _now()
        record.error = f"{type(error).__name__}: {error}"
        raise
    finally:
        record.write(run_dir / RECORD_NAME)
    return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _new_record(cfg: DictConfig, run_dir: Path, assembly: Assembly) -> RunRecord:
    store, data = assembly.data.store, assembly.data
    total, trainable = parameter_counts(assembly.module)
    return RunRecord(
        name=str(cfg.name),
        status="running",
        run_dir=str(run_dir),
        command=" ".join(["funneltune", *sys.argv[1:]]),
        config=as_plain(cfg),
        config_hash=config_hash(cfg),
        git_commit=git_commit(),
        versions=versions(),
        data={
            "fingerprint": store.fingerprint,
            "rows": {split: len(data.rows(split)) for split in ("train", "validation", "test")},
            "requests": {split: len(data.requests(split)) for split in ("train", "validation", "test")},
        },
        seed=int(cfg.seed),
        funnel=data.funnel.to_config(),
        parameters={"total": total, "trainable_start": trainable, "share": trainable / total},
        started=_now(),
    )


def _fit_and_measure(assembly: Assembly, run_dir: Path, record: RunRecord, loggers: list[Logger]) -> None:
    """Fit, settle the tuning method's budget, evaluate both splits, write weights, predictions and statistics."""
    cfg, module, data = assembly.cfg, assembly.module, assembly.data
    callbacks = wanted_callbacks(cfg)
    trainer = make_trainer(cfg, run_dir, callbacks, loggers)
    begun = time.perf_counter()
    trainer.fit(module, datamodule=data)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if cfg.select == "best":
        _load_best(trainer, module)
    module.tuning.finish()
    if cfg.select == "best" or module.validated_at != trainer.global_step:
        trainer.validate(module, datamodule=data, verbose=False)
    trainer.test(module, datamodule=data, verbose=False)
    saved = save_weights(module, run_dir / "weights", write=trainer.is_global_zero)
    if not trainer.is_global_zero:
        return
    _, trainable_end = parameter_counts(module)
    record.parameters |= {"trainable_end": trainable_end}
    record.rank_pattern = module.tuning.rank_pattern()
    record.metrics = {"validation": module.measured["validation"], "test": module.measured["test"]}
    columns = module.predicted["test"]
    ks = tuple(module.evaluation.get("ks", (10,)))
    record.oracle = ceiling(columns, module.funnel, ks=ks)
    scores = score_baselines(list(cfg.baselines or []), assembly)
    record.baselines = {name: score_metrics(columns, module.funnel, score, ks=ks) for name, score in scores.items()}
    statistics = compact(columns, module.funnel, ks=ks, scores=scores)
    write_statistics(run_dir / STATISTICS_NAME, statistics)
    compared = [key for key in metric_keys(statistics) if key.endswith(("/auc", *(f"/ndcg@{k}" for k in ks)))]
    record.comparisons = [c.to_json() for c in against_baselines(statistics, record.name, compared)]
    efficiency = next((c.summary() for c in callbacks if isinstance(c, Efficiency)), {})
    record.cost = efficiency | {"wall_seconds": time.perf_counter() - begun, "saved_bytes": saved}
    write_predictions(run_dir / "predictions.parquet", columns | _score_columns(scores))


def _score_columns(scores: Mapping[str, Scorer]) -> dict[str, Any]:
    """`score_bm25`, and `score_trees_click` where a baseline scores each rate."""
    found: dict[str, Any] = {}
    for name, score in scores.items():
        parts = {f"_{stem}": s for stem, s in score.items()} if isinstance(score, Mapping) else {"": score}
        found |= {f"score_{name}{suffix}": values for suffix, values in parts.items()}
    return found


def wanted_callbacks(cfg: DictConfig) -> list[L.Callback]:
    """The config's callbacks, without the bar and the checkpoints where the trainer switches them off."""
    off: list[type[L.Callback]] = []
    if not cfg.trainer.get("enable_progress_bar", True):
        off.append(ProgressBar)
    if not cfg.trainer.get("enable_checkpointing", True):
        off.append(Checkpoint)
    built = [instantiate(node) for node in (cfg.callbacks or {}).values()]
    return [callback for callback in built if not isinstance(callback, tuple(off))]


def _load_best(trainer: L.Trainer, module: Any) -> None:
    best = next((c.best_model_path for c in trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)), "")
    if not best:
        raise RunError("select=best, but no checkpoint was eligible; use select=last, or validate in the final phase.")
    checkpoint = torch.load(best, map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    module.tuning.load_state_dict(checkpoint["tuning"])


def write_predictions(path: Path, columns: dict[str, Any]) -> None:
    """One row per impression, in store order; Parquet with page checksums, whole or not at all."""
    part = path.with_suffix(".part")
    pd.DataFrame(columns).to_parquet(part, index=False, write_page_checksum=True)
    part.replace(path)
