"""Pretrain a backbone on a log's texts and leave a folder that any later run starts from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from funneltune.backbones import Backbone
from funneltune.backbones.language import language_model, longest_text, write_backbone
from funneltune.callbacks import Efficiency, History, StopRequest
from funneltune.data import LogDataModule, Pretraining, TextDataModule, TextReader, built_folder
from funneltune.data.language import hold_out, pretraining_texts
from funneltune.errors import ConfigError, Interrupted, RunError
from funneltune.files import require_space, whole_file
from funneltune.modules import LanguageModule
from funneltune.records import RunRecord
from funneltune.runs.assemble import assemble_data, make_trainer
from funneltune.runs.check import check_config
from funneltune.runs.folder import held
from funneltune.runs.logs import logger
from funneltune.runs.recording import new_record, stopped, written_down
from funneltune.runs.targets import build
from funneltune.tuning import TuningMethod

BACKBONE, ADAPTERS = "backbone", "adapters.safetensors"


@dataclass
class Stage:
    """What pretraining is made of."""

    cfg: DictConfig
    plan: Pretraining
    backbone: Backbone
    log: LogDataModule
    texts: TextDataModule
    module: LanguageModule


def pretrain(cfg: DictConfig, run_dir: Path) -> RunRecord:
    """Train the config's backbone, by the config's tuning method, on the texts of the config's log; write the folder.

    `backbone/` is a Hugging Face folder in float32; `adapters.safetensors` lies beside it where the tuning method
    cannot be merged into weights. The record's metrics are of held-out texts: `lm/loss` and `lm/perplexity` after, with
    `_before` before; a text's masks are the same both times.

    Raises:
        ConfigError: if the config asks for what pretraining cannot do.
        RunError: if the folder may not be written, or training diverged.
        FunnelError: whatever config, data or tuning method refuse.
    """
    check_config(cfg)
    require_possible(cfg)
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise RunError(f"run_dir={run_dir} exists and is not empty; name another folder, or remove it.")
    stop = StopRequest()
    try:
        with stop.listening():
            return _pretrain(cfg, run_dir, stop)
    except Interrupted as error:
        error.told = _told(error, run_dir)
        raise


def _pretrain(cfg: DictConfig, run_dir: Path, stop: StopRequest) -> RunRecord:
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    stage = staged(cfg)
    with held(run_dir, fresh=True):
        record = _new_record(stage, run_dir)
        with written_down(cfg, run_dir, record, lambda error: _told(error, run_dir)) as trackers:
            _fit(stage, run_dir, record, trackers, stop)
    return record


def _told(error: Interrupted, run_dir: Path) -> str:
    return stopped(error, run_dir, lambda: "; pretraining is not taken up: begin anew in another run_dir")


def require_possible(cfg: DictConfig) -> None:
    """Refuse what has no meaning before there is a task, or cannot be done here.

    Raises:
        ConfigError: naming the key.
    """
    if cfg.get("pretraining") is None:
        raise ConfigError("pretraining=null says nothing to learn; set pretraining=mlm or pretraining=clm.")
    if cfg.get("start"):
        raise ConfigError(f"start={cfg.start}: pretraining goes on from a backbone; set backbone.name=RUN/backbone.")
    if cfg.get("resume") is not None:
        raise ConfigError(f"resume={cfg.resume}: pretraining is not taken up; begin anew in another run_dir.")
    if str(cfg.backbone.get("_target_")).endswith(".NoBackbone"):
        raise ConfigError("backbone=none reads no text, and pretraining is on texts; choose a backbone.")
    if cfg.trainer.devices not in (1, "1") or cfg.trainer.num_nodes != 1:
        raise ConfigError(
            f"trainer.devices={cfg.trainer.devices} trainer.num_nodes={cfg.trainer.num_nodes}: pretraining is one "
            "process; set both to 1."
        )
    if cfg.trainer.get("precision") in ("16-mixed", "16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision={cfg.trainer.precision}: pretraining keeps float32 weights and scales no gradient; use "
            "32-true or bf16-mixed."
        )
    if cfg.tuning.get("sharing", "shared") != "shared":
        raise ConfigError(f"tuning.sharing={cfg.tuning.sharing}: pretraining knows no task; set tuning.sharing=shared.")


def staged(cfg: DictConfig) -> Stage:
    """Build data, texts and model. Weights that are new are drawn from the seed, as a run's backbone is."""
    plan: Pretraining = build(cfg.pretraining)
    backbone: Backbone = build(cfg.backbone)
    torch.manual_seed(cfg.seed)
    model = language_model(backbone, plan.objective)
    log = assemble_data(cfg, backbone)
    _check_fit(model, log)
    tuning: TuningMethod = build(_with_rate(cfg, plan))
    if not tuning.pretrains:
        raise ConfigError(
            f"tuning={tuning.name} leaves nothing that a later run could start from; take full, lora, adalora, bitfit "
            "or houlsby."
        )
    log.prepare_data()
    texts = pretraining_texts(log, plan)
    train, held_out = hold_out(texts, plan.validation, int(cfg.seed))
    log.store.release()
    torch.manual_seed(cfg.seed + 2)
    tuning.apply(model.base_model)
    model.train()
    module = LanguageModule(model, tuning, build(cfg.optimizer), build(cfg.scheduler))
    reader = TextReader.of(log.tokenizer, plan, int(cfg.seed))
    return Stage(cfg, plan, backbone, log, TextDataModule(train, held_out, reader, plan.texts_per_batch), module)


def _with_rate(cfg: DictConfig, plan: Pretraining) -> DictConfig:
    """The tuning method's node at the rate of pretraining."""
    node: DictConfig = cfg.tuning.copy()
    if plan.learning_rate is not None:
        if "learning_rate" not in node:
            raise ConfigError(
                f"pretraining.learning_rate={plan.learning_rate}: {node._target_} moves no weight and has no rate; "
                "set it to null."
            )
        node.learning_rate = plan.learning_rate
    return node


def _check_fit(model: Any, log: LogDataModule) -> None:
    longest, words = longest_text(model), int(model.config.vocab_size)
    if longest is not None and log.max_tokens > longest:
        raise ConfigError(
            f"data.max_tokens={log.max_tokens} must be <= {longest}, the positions that the backbone has; lower it."
        )
    if len(log.tokenizer) > words:
        raise ConfigError(
            f"backbone.architecture.vocab_size={words} must be >= {len(log.tokenizer)}, the tokenizer's; raise it."
        )


def _new_record(stage: Stage, run_dir: Path) -> RunRecord:
    parameters = list(stage.module.model.parameters())
    total, trained = sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)
    parts = {"train": stage.texts.train, "validation": stage.texts.held_out}
    read = {
        "texts": {part: len(texts) for part, texts in parts.items()},
        "tokens": {part: sum(map(len, texts)) for part, texts in parts.items()},
    }
    return new_record(stage.cfg, run_dir, (total, trained), read, stage.log)


class _Signals(L.Callback):
    """Takes the signals back from Lightning's trainer: nothing is taken up, so a stop is obeyed at once."""

    def __init__(self, stop: StopRequest) -> None:
        self.stop = stop

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """They are Lightning's by now."""
        self.stop.take()


def _fit(stage: Stage, run_dir: Path, record: RunRecord, loggers: Sequence[Logger], stop: StopRequest) -> None:
    """Measure, train, settle the tuning method, measure again, write the backbone."""
    module, texts = stage.module, stage.texts
    callbacks = [*_watching(stage.cfg), _Signals(stop)]
    trainer = make_trainer(_passes(stage.cfg, stage.plan), run_dir, callbacks, loggers)
    begun = time.perf_counter()
    trainer.validate(module, datamodule=texts, verbose=False)
    before = dict(module.measured)
    trainer.fit(module, datamodule=texts)
    module.tuning.finish()
    trainer.validate(module, datamodule=texts, verbose=False)
    record.metrics = {"validation": _metrics(stage, before, module.measured)}
    record.parameters["trainable_end"] = sum(p.numel() for p in module.parameters() if p.requires_grad)
    record.rank_pattern = module.tuning.rank_pattern()
    watched = next((one for one in callbacks if isinstance(one, Efficiency)), None)
    _write(stage, run_dir)
    saved = sum(path.stat().st_size for path in (run_dir / BACKBONE).iterdir())
    record.cost = (
        {"precision": str(trainer.precision)}
        | (watched.summary() if watched is not None else {})
        | {"wall_seconds": time.perf_counter() - begun, "saved_bytes": saved}
    )
    logger.info("perplexity of held-out texts: %.4g, then %.4g", before["perplexity"], module.measured["perplexity"])


def _watching(cfg: DictConfig) -> list[L.Callback]:
    """The config's callbacks that any training has: cost, history, bar."""
    built: list[L.Callback] = [build(node) for node in (cfg.callbacks or {}).values()]
    kinds = (Efficiency, History, *((ProgressBar,) if cfg.trainer.get("enable_progress_bar", True) else ()))
    return [callback for callback in built if isinstance(callback, kinds)]


def _passes(cfg: DictConfig, plan: Pretraining) -> DictConfig:
    """The trainer as pretraining wants it: its own length, each epoch's own texts."""
    changed = cfg.copy()
    OmegaConf.set_struct(changed, False)
    changed.trainer.max_epochs = plan.epochs
    changed.trainer.max_steps = -1 if plan.steps is None else plan.steps
    changed.trainer.reload_dataloaders_every_n_epochs = 1
    changed.trainer.inference_mode = True
    return changed


def _metrics(stage: Stage, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    rows = {
        "mlm": f"{stage.plan.mask_share:.0%} of the tokens of held-out texts, masked alike both times",
        "clm": "every token of held-out texts, from those before it",
    }[stage.plan.objective]
    protocol = {"rows": rows, "n": int(after["targets"]), "averaging": "tokens", "texts": len(stage.texts.held_out)}
    return {
        f"lm/{name}{suffix}": {"value": found[name], "protocol": protocol}
        for suffix, found in (("", after), ("_before", before))
        for name in ("loss", "perplexity")
    }


def _write(stage: Stage, run_dir: Path) -> None:
    """The backbone, with the tuning method's update merged into it, or beside it."""
    module, tuning = stage.module, stage.module.tuning
    model = module.model
    require_space(run_dir, 4 * sum(p.numel() for p in model.parameters()))
    if tuning.pretrains == "start":
        with whole_file(run_dir / ADAPTERS) as part:
            tensors = {
                name: tensor.detach().cpu().contiguous() for name, tensor in tuning.export(model.base_model).items()
            }
            save_file(tensors, part)
        torch.manual_seed(stage.cfg.seed)
        model = language_model(stage.backbone, stage.plan.objective)  # as it was: the adapters stand beside it
    else:
        tuning.merge()
    with built_folder(run_dir / BACKBONE) as folder:
        assert folder is not None
        write_backbone(model, stage.backbone, folder)
