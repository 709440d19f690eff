"""Train one configuration and leave the run folder of the contract behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from funneltune.callbacks import (
    CHECKPOINTS,
    Checkpoints,
    Efficiency,
    RandomState,
    StopRequest,
    newest_checkpoint,
    read_checkpoint,
)
from funneltune.errors import Interrupted, RunError
from funneltune.modules import FunnelModule
from funneltune.records import RunRecord
from funneltune.runs.assemble import Assembly, make_trainer, parameter_counts
from funneltune.runs.check import check_config
from funneltune.runs.folder import Earlier, earlier_run, held
from funneltune.runs.logs import logger, train_log
from funneltune.runs.measuring import now, write_down
from funneltune.runs.precision import chosen_precision
from funneltune.runs.privacy import privacy_record
from funneltune.runs.ranks import following
from funneltune.runs.recording import give_up, new_record, stopped, way_on, with_way_on, written_down
from funneltune.runs.starting import begin
from funneltune.runs.targets import build
from funneltune.runs.weights import save_weights

RUN_DIR, RESUME_FROM = "FUNNELTUNE_RUN_DIR", "FUNNELTUNE_RESUME_FROM"


def train(cfg: DictConfig, run_dir: Path, extra_callbacks: Sequence[L.Callback] = ()) -> RunRecord:
    """Train, evaluate on validation and test, and write the run folder; or, with `cfg.resume`, go on with the run that
    the folder holds, bit for bit. With `cfg.test=false` the test split is left alone.

    Nothing is written before the config is checked and the data and backbone are there. A run that fails later leaves
    its folder with status `failed` (`interrupted`, where a signal ended it) and the reason.

    Args:
        cfg: The composed config.
        run_dir: Where the run goes.
        extra_callbacks: Lightning callbacks beside the config's, of whoever runs many (a search that prunes).

    Raises:
        RunError: if the folder may not be written, a checkpoint does not fit, or a step is not finite.
        FunnelError: whatever config, data or tuning method refuse.
        Interrupted: after SIGTERM or SIGINT, with the command that goes on.
    """
    check_config(cfg)
    stop = StopRequest()
    try:
        with stop.listening():
            return (_train if is_first_rank() else _follow)(cfg, run_dir, stop, extra_callbacks)
    except Interrupted as error:
        error.told = _told(error, run_dir)
        raise


def _train(cfg: DictConfig, run_dir: Path, stop: StopRequest, extra: Sequence[L.Callback]) -> RunRecord:
    earlier = earlier_run(cfg, run_dir)
    if earlier is not None and earlier.record.status == "finished":
        sys.stderr.write(f"{run_dir} is finished already: nothing is trained\n")
        return earlier.record
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    assembly = begin(cfg)
    assembly.data.prepare_data()
    assembly.data.setup("fit")
    with held(run_dir, fresh=earlier is None):
        record = _new_record(cfg, run_dir, assembly)
        if earlier is not None:
            record = _taken_up(record, earlier)
            sys.stderr.write(f"{run_dir} {earlier.in_words}\n")
        _run(assembly, run_dir, record, earlier, stop, extra)
    return record


def is_first_rank() -> bool:
    """Whether this process writes the run folder: the first of the first machine, whoever started the others."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID"))


@following()
def _follow(cfg: DictConfig, run_dir: Path, stop: StopRequest, extra: Sequence[L.Callback]) -> RunRecord:
    """A further rank: it trains along and leaves the folder to the first."""
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    assembly = begin(cfg)
    assembly.data.prepare_data()
    assembly.data.setup("fit")
    told = os.environ.get(RESUME_FROM)  # from the first rank, where that one started this
    checkpoint = newest_checkpoint(run_dir / CHECKPOINTS) if told is None and cfg.get("resume") else Path(told or "")
    record = _new_record(cfg, run_dir, assembly)
    with train_log(None):
        _fit_and_measure(assembly, run_dir, record, [], stop, checkpoint if str(checkpoint) != "." else None, extra)
    return record


def _taken_up(record: RunRecord, earlier: Earlier) -> RunRecord:
    """The record of a run that goes on: when it began and by which command stay, and a line says where it went on.

    Raises:
        RunError: if the log is another one.
    """
    before = earlier.record
    if before.data.get("fingerprint") != record.data["fingerprint"]:
        raise RunError(
            f"run_dir={before.run_dir} began on another log (its rows or its column map have changed since); restore "
            "them, or train again in another folder."
        )
    moved = [
        f"{name} was {before.versions.get(name)}, is {now}"
        for name, now in record.versions.items()
        if before.versions.get(name) != now
    ]
    moved += [
        f"{part} was at commit {before.origins[part].get('commit')}, is at {origin.get('commit')}"
        for part, origin in record.origins.items()
        if part in before.origins and before.origins[part].get("commit") != origin.get("commit")
    ]
    if moved:
        logger.warning("the run may not go on bit for bit: %s.", ", ".join(moved))
    again = {"step": earlier.step, "at": now(), "changed": [*earlier.changed, *moved]}
    return replace(
        record,
        command=before.command or record.command,
        started=before.started,
        git_commit=before.git_commit,
        resumed=[*before.resumed, again],
    )


def _run(
    assembly: Assembly,
    run_dir: Path,
    record: RunRecord,
    earlier: Earlier | None,
    stop: StopRequest,
    extra: Sequence[L.Callback],
) -> None:
    """Train and measure in a folder that is held, and write down how it ended."""
    checkpoint = earlier.checkpoint if earlier is not None else None
    # Lightning starts further ranks by replaying the command: they find the folder and the checkpoint here.
    ranks = {RUN_DIR: str(run_dir), RESUME_FROM: str(checkpoint or "")}
    with (
        _environment(ranks),
        written_down(assembly.cfg, run_dir, record, lambda error: _told(error, run_dir)) as trackers,
    ):
        _fit_and_measure(assembly, run_dir, record, trackers, stop, checkpoint, extra)


@contextmanager
def _environment(words: Mapping[str, str]) -> Iterator[None]:
    """Variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in words}
    os.environ.update(words)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _told(error: Interrupted, run_dir: Path) -> str:
    """What was kept, and the command that goes on."""
    return stopped(error, run_dir, lambda: f", {way_on(run_dir)}")


def _new_record(cfg: DictConfig, run_dir: Path, assembly: Assembly) -> RunRecord:
    data = assembly.data
    read = {
        "rows": {split: data.n_rows(split) for split in ("train", "validation", "test")},
        "requests": {split: len(data.requests(split)) for split in ("train", "validation", "test")},
    }
    return new_record(cfg, run_dir, parameter_counts(assembly.module), read, data)


def _fit_and_measure(
    assembly: Assembly,
    run_dir: Path,
    record: RunRecord,
    loggers: list[Logger],
    stop: StopRequest,
    checkpoint: Path | None,
    extra: Sequence[L.Callback],
) -> None:
    """Fit, settle the tuning method's budget, evaluate both splits, write weights, predictions and statistics."""
    cfg, module, data = assembly.cfg, assembly.module, assembly.data
    if chosen := chosen_precision(cfg.trainer):
        logger.info("%s.", chosen)
    callbacks = [*extra, *wanted_callbacks(cfg, stop)]
    trainer = make_trainer(cfg, run_dir, callbacks, loggers)
    begun = time.perf_counter()
    with with_way_on(run_dir), trainer.told(partial(give_up, run_dir, record if is_first_rank() else None)):
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        if cfg.select == "best":
            _load_best(callbacks, module)
        module.tuning.finish()
        # a checkpoint keeps what a validation measured, and not its predictions, which calibrations are fitted on
        validated = module.validated_at == trainer.global_step and "validation" in module.predicted
        if cfg.select == "best" or not validated:
            trainer.validate(module, datamodule=data, verbose=False)
        if cfg.get("test", True):
            trainer.test(module, datamodule=data, verbose=False)
        saved = save_weights(module, run_dir / "weights", write=trainer.is_global_zero)
    if not trainer.is_global_zero:
        return
    _, trainable_end = parameter_counts(module)
    record.parameters |= {"trainable_end": trainable_end}
    record.rank_pattern = module.tuning.rank_pattern()
    record.privacy = privacy_record(cfg, module)
    watched = next((c for c in callbacks if isinstance(c, Efficiency)), None)
    wall = watched.wall_seconds if watched is not None else time.perf_counter() - begun
    skipped = {"steps_left_out": module.finite.taken_out} if module.finite.taken_out else {}
    efficiency = watched.summary() if watched is not None else {}
    kept = {"boundary_cache": asdict(module.kept)} if module.kept is not None else {}
    record.cost = (
        {"precision": str(trainer.precision)}
        | efficiency
        | kept
        | {"wall_seconds": wall, "saved_bytes": saved}
        | skipped
    )
    write_down(assembly, run_dir, record)  # last: what baselines cost is not the run's


def wanted_callbacks(cfg: DictConfig, stop: StopRequest) -> list[L.Callback]:
    """The config's callbacks (no bar where the trainer switches it off), random state, and checkpoints last of all, so
    that they hold what the others have seen.
    """
    built = [build(node) for node in (cfg.callbacks or {}).values() if node is not None]
    if not cfg.trainer.get("enable_progress_bar", True):
        built = [callback for callback in built if not isinstance(callback, ProgressBar)]
    given = [callback for callback in built if isinstance(callback, Checkpoints)]
    checkpoints = given[0] if given else Checkpoints(str(cfg.monitor))
    checkpoints.enabled = bool(given) and bool(cfg.trainer.get("enable_checkpointing", True))
    checkpoints.stop = stop
    others = [callback for callback in built if not isinstance(callback, Checkpoints)]
    return [*others, RandomState(), checkpoints]


def _load_best(callbacks: Sequence[L.Callback], module: FunnelModule) -> None:
    best = next(c.best_path for c in callbacks if isinstance(c, Checkpoints))
    if best is None:
        raise RunError("select=best, but no checkpoint was eligible; use select=last, or validate in the final phase.")
    module.restore_weights(read_checkpoint(best))
