"""A trained run, back from its folder: evaluated again, or asked about new rows."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from funneltune.backbones import Caching
from funneltune.data import LogDataModule
from funneltune.data.pseudonyms import require_key
from funneltune.data.unlabelled import read_as
from funneltune.errors import ConfigError, RunError
from funneltune.files import whole_file
from funneltune.metrics import METHODS, RAW, Scaling, scaled, scalings
from funneltune.records import RECORD_NAME, RunRecord
from funneltune.runs.assemble import Assembly, assemble, make_trainer
from funneltune.runs.check import check_config
from funneltune.runs.folder import CONFIG_NAME, stored_config
from funneltune.runs.logs import logger, train_log
from funneltune.runs.weights import load_weights


def load(run: Path, **changes: Any) -> Assembly:
    """Rebuild a finished run: the backbone from its public home, the trained tensors from the run's folder.

    `changes` replaces top-level nodes of the data config (a new `path`, say).

    Raises:
        RunError: if the folder is no finished run, or its weights are missing or damaged.
    """
    cfg = finished_config(run)
    for key, value in changes.items():
        OmegaConf.update(cfg, f"data.{key}", value)
    assembly = assemble(cfg)
    load_weights(assembly.module, run / "weights")
    return assembly


def finished_config(run: Path, field: str = "run") -> DictConfig:
    """The config of a finished run, checked again: a config found in a folder is as untrusted as any. `field` of the
    command line named the folder.
    """
    cfg = stored_config(run, field)
    record = RunRecord.read(run / RECORD_NAME)
    if record.status != "finished":
        raise RunError(
            f"{field}={run} has status {record.status!r}; only a finished run can be used, go on with it: "
            f"funneltune train resume={run}."
        )
    require_key(cfg.data.get("pseudonyms"), record.data, f"{field}={run}")  # a check of the config asks for any key
    try:
        check_config(cfg)
    except ConfigError as error:  # it speaks of keys that nobody gave on the command line
        raise ConfigError(f"{run / CONFIG_NAME}: {error}") from None
    return cfg


def evaluate(run: Path, split: str = "test") -> dict[str, dict[str, Any]]:
    """Measure a finished run again on one of its splits: the metrics as its record holds them."""
    if split not in {"validation", "test"}:
        raise RunError(f"split={split!r} must be validation or test.")
    return measured(load(run), run, split)


def measured(assembly: Assembly, run: Path, split: str) -> dict[str, dict[str, Any]]:
    """The metrics of a loaded run on one of its splits; the module keeps the predictions."""
    kept = RunRecord.read(run / RECORD_NAME).cost.get("boundary_cache")
    # As the run measured: while it trained from kept states also on validation; on the test where it always keeps them.
    policy = assembly.cfg.backbone.get("cache", "never")
    from_kept = kept and (policy == "always" or (split == "validation" and assembly.cfg.select == "last"))
    assembly.module.encoder.caching = Caching("always" if from_kept else "never", float("inf"))
    with train_log(None):
        trainer = make_trainer(single_process(assembly.cfg), run, [], [])
        step = trainer.test if split == "test" else trainer.validate
        step(assembly.module, datamodule=assembly.data, verbose=False)
    return assembly.module.measured[split]


def predict(run: Path, input: Path, output: Path, calibration: str | None = None) -> int:  # noqa: A002 (the command line's word)
    """Score the rows of a table with the run's columns (labels may be missing). Returns the rows written.

    The output has the input's rows in the input's order: `row` (from 1), the identifiers of shopper, query and item as
    the file has them, and the predictions (`p_click`, ...). `calibration` names the scaling that is applied to them, or
    `none`; None: what the run's config says (`calibration.use`).

    Raises:
        RunError: if the output exists or is neither .parquet nor .csv, or the run has no such scaling.
        DataError: if the input breaks the run's column map.
    """
    if output.suffix not in {".parquet", ".csv"}:
        raise RunError(f"output={output} must end in .parquet or .csv.")
    if output.exists():
        raise RunError(f"output={output} exists; name another file or remove it.")
    cfg = finished_config(run)
    scaling = scalings_of(run, calibration)
    assembly = assemble(cfg)
    data = read_as(assembly.data, input)
    load_weights(assembly.module, run / "weights")
    if data.features.history:
        logger.warning("features.history: %s tells no clicks, so every shopper is taken to have no past.", input)
    with train_log(None):
        trainer = make_trainer(single_process(cfg), run, [], [])
        trainer.predict(assembly.module, datamodule=data, return_predictions=False)
    frame = _as_the_file_has_it(scaled(assembly.module.predicted["predict"], data.funnel, scaling), data)
    with whole_file(output) as part:
        if output.suffix == ".parquet":
            frame.to_parquet(part, index=False, write_page_checksum=True)
        else:
            frame.to_csv(part, index=False)
    return len(frame)


def scalings_of(run: Path, method: str | None = None) -> dict[str, Scaling]:
    """Rate -> the scaling that a run's record holds; rates that have none are told and stay as they are.

    `method`: temperature, platt, isotonic or none; None: what the run's config says (`calibration.use`).

    Raises:
        RunError: if the method is unknown, or the record holds none of it.
    """
    record = RunRecord.read(run / RECORD_NAME)
    method = method or str((stored_config(run).get("calibration") or {}).get("use", RAW))
    if method == RAW:
        return {}
    if method not in METHODS:
        raise RunError(f"calibration={method} must be {RAW} or one of {', '.join(METHODS)}.")
    found = scalings(record.calibration, method)
    skipped = [f"{rate}: {told['skipped']}" for rate, told in record.calibration.items() if "skipped" in told]
    if not found:
        why = "; ".join(skipped) or f"funneltune evaluate run={run} keep=true fits what its config asks for"
        raise RunError(f"calibration={method}: the record of run={run} holds no such scaling ({why}).")
    for one in skipped:
        logger.warning("calibration=%s leaves a rate as it is, %s.", method, one)
    return found


def _as_the_file_has_it(columns: Mapping[str, Any], data: LogDataModule) -> pd.DataFrame:
    """Row numbers, identifiers and predictions, in the file's order."""
    kept: dict[str, Any] = {"row": data.store.column("row")[data.rows("predict")]}
    for name, table in (("user", "users"), ("query", "queries"), ("item", "items")):
        keys = np.asarray(data.store.table(table).column("key").to_pylist(), dtype=object)
        kept[name] = keys[columns[name]]
    kept |= {name: columns[name] for name in data.funnel.predicted}
    return pd.DataFrame(kept).sort_values("row", kind="stable", ignore_index=True)


def single_process(cfg: DictConfig) -> DictConfig:
    """The run's trainer on one device, without what only training needs."""
    bar = bool(cfg.trainer.get("enable_progress_bar", True)) and sys.stdout.isatty()  # nothing where no one watches
    cfg = cfg.copy()
    OmegaConf.set_struct(cfg, False)
    alone = {"devices": 1, "strategy": "auto", "logger": False, "enable_progress_bar": bar}
    cfg = OmegaConf.merge(cfg, {"trainer": alone})  # type: ignore[assignment]
    return cfg
