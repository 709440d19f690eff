"""The LightningModule that all tuning methods share: wiring only, the maths lives in the rooms below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from funneltune.backbones import Encoder, NoEncoder
from funneltune.data import LogDataModule
from funneltune.features import Features
from funneltune.funnel import TaskFunnel
from funneltune.metrics import evaluate
from funneltune.modules.caching import Kept, open_cache, pays
from funneltune.modules.finite import FiniteGuard
from funneltune.modules.meter import PredictionMeter
from funneltune.modules.replacing import take_over
from funneltune.modules.scales import LabelScales
from funneltune.modules.sharding import gather, release, shard_model
from funneltune.modules.state import frozen_weights, kept_of, restore, sum_of, take_up
from funneltune.schema import Batch, HeadOutput, LossTerms, predictions
from funneltune.tuning import TuningMethod

Objective = Callable[[Batch, HeadOutput], LossTerms]


class FunnelModule(L.LightningModule):
    """Texts -> encoder -> interaction (and features) -> head -> objective, tuned by a `TuningMethod`.

    The loss of an optimizer step is the same for any number of ranks and accumulated batches: each batch carries the
    step's denominators, its terms add up over ranks and micro-batches, and what Lightning divides by (ranks, through
    DDP's mean, and `accumulate_grad_batches`) is multiplied back here.
    """

    methods: ClassVar[tuple[type, ...]] = ()
    """The tuning methods that a variant serves."""

    def __init__(
        self,
        *,
        encoder: Encoder | NoEncoder,
        interaction: nn.Module,
        head: nn.Module,
        features: Features | None = None,
        objective: Objective,
        tuning: TuningMethod,
        funnel: TaskFunnel,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        evaluation: Mapping[str, Any] | None = None,
        skip_nonfinite: int = 0,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # a checkpoint leaves frozen weights out; `on_load_checkpoint` sees to the rest
        self.encoder = encoder
        self.interaction = interaction
        self.head = head
        self.features = features
        self.objective = objective
        self.tuning = tuning
        self.funnel = funnel
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.evaluation = dict(evaluation or {})
        self.meter = PredictionMeter(funnel)
        self.scales = LabelScales(funnel)
        self.predicted: dict[str, dict[str, NDArray[Any]]] = {}
        """Per split: the columns of the last evaluation, predictions included."""
        self.measured: dict[str, dict[str, dict[str, Any]]] = {}
        """Per split: the metrics of the last evaluation, each with its protocol."""
        self.steps_taken = 0
        """Optimizer steps that moved the weights."""
        self.skipped_steps = 0
        """Optimizer steps that a GradScaler skipped because a gradient had overflowed."""
        self.finite = FiniteGuard(skip_nonfinite)
        self.validated_at = -1
        """The optimizer step of the last validation."""
        self.kept: Kept | None = None
        """What the last fit had on disk of the states below its lowest trained layer."""
        self._saved_tuning_state: dict[str, Any] | None = None
        encoder.boundary = tuning.lowest_trained_layer

    # --- forward -----------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> HeadOutput:
        """Logits per task and row. The encoder runs in the trainer's precision, what follows in the weights' own."""
        return self.score(batch, self.encoder(batch.texts))

    def score(self, batch: Batch, vectors: Tensor) -> HeadOutput:
        """The logits of rows whose texts have these vectors."""
        with torch.autocast(device_type=vectors.device.type, enabled=False):
            vectors = vectors.to(self.dtype)
            pairs = self.interaction(batch, vectors)
            if self.features is not None:
                pairs = torch.cat([pairs, self.features(batch, vectors)], dim=-1)
            output: HeadOutput = self.head(dict.fromkeys(self.funnel.names, pairs))
        return output

    # --- sharding ----------------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Under `trainer=fsdp2`: shard each layer, the rest of the encoder and the head over the ranks."""
        if not isinstance(self.trainer.strategy, ModelParallelStrategy):
            return
        assert self.device_mesh is not None
        assert isinstance(self.encoder, Encoder)
        others = [part for part in (self.interaction, self.features, self.head) if part is not None]
        shard_model(self.encoder, others, self.device_mesh)

    # --- training ----------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Measure what is learnt from the training rows alone; tell the tuning method how many optimizer steps it has,
        then restore what a checkpoint kept of it.
        """
        self._measure_training_rows()
        self.kept = self._open_cache(wanted=("auto", "always"))
        self.tuning.begin(int(self.trainer.estimated_stepping_batches))
        if self._saved_tuning_state is not None:
            self.tuning.load_state_dict(self._saved_tuning_state)
            self._saved_tuning_state = None

    def _measure_training_rows(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, LogDataModule):
            self.scales.fit({name: data.training_labels(name) for name in self.scales.tasks})
            if self.features is not None:
                self.features.fit(data.training_numbers())

    def _open_cache(self, wanted: tuple[str, ...]) -> Kept | None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.encoder.caching.policy not in wanted or not isinstance(data, LogDataModule):
            return None
        if not isinstance(self.encoder, Encoder) or not pays(self.encoder, data, self.trainer):
            return None
        return open_cache(self.encoder, data, self.trainer)

    def teardown(self, stage: str) -> None:
        """Another log would number its texts otherwise."""
        self.encoder.cache = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The step's loss as this batch sees it, plus the tuning method's penalty (once per step)."""
        output = self(batch)
        terms = self.objective(self.scales.standardise(batch), output)
        self.finite.watch(batch, output, terms)
        share = self.trainer.world_size * self.trainer.accumulate_grad_batches
        loss = terms.total() * share
        penalty = self.tuning.penalty().to(loss.device)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        self.log_dict(
            {f"train/loss_{name}": term.detach() * share for name, term in terms.terms.items()}, batch_size=len(batch)
        )
        if penalty.requires_grad:
            self.log("train/penalty", penalty.detach(), batch_size=len(batch))
        return loss + penalty

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Stop at a loss or gradient that is not finite, or leave its step out, before it reaches weights, moments or
        importance averages; then clip the norm.

        Under a GradScaler such a gradient is an overflow: the scaler skips the step and lowers its scale. Lightning
        refuses to clip for a fused optimizer under bfloat16 too, where there is nothing to unscale; it is done here.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if self._scaler() is not None:
            self.finite.forget()
            if not torch.isfinite(whole):
                return
        elif not self.finite.passes(whole, self.global_step, self.trainer.strategy.reduce_boolean_decision):
            for parameter in parameters:
                parameter.grad = None  # the optimizer passes over it: no moment moves, nothing decays
            return
        if gradient_clip_algorithm not in {None, "norm"}:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)
        self.log("train/gradient_norm", whole)
        self.log_dict(self.tuning_scalars())

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """The optimizer's step, then the tuning method's: gradients still exist, reduced and accumulated.

        A step that a GradScaler skips is none: the tuning method's schedule stands still, and its averages see no
        gradient that is not finite.
        """
        scaler = self._scaler()
        before = scaler.get_scale() if scaler is not None else 0.0
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if scaler is not None and scaler.get_scale() < before:
            self.skipped_steps += 1
            return
        if self.finite.took_out_last:
            return
        change = self.tuning.after_step(self.steps_taken)
        if change is not None:
            take_over(change, self.optimizers(use_pl_optimizer=False), self.trainer.strategy)  # type: ignore[arg-type]
        self.steps_taken += 1

    def _scaler(self) -> Any:
        """float16's gradient scaler, where there is one."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def tuning_scalars(self) -> dict[str, float]:
        """What a variant logs of its method at each step."""
        return {}

    def configure_optimizers(self) -> Any:
        """Groups with rates of their own: the tuning method's, and the head's at the optimizer's rate.

        Vectors (biases, LayerNorm) take no weight decay, as in BERT.
        """
        parts = [part for part in (self.interaction, self.features, self.head) if part is not None]
        above = [p for part in parts for p in part.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"name": "head", "params": above}, *self.tuning.parameter_groups()]
        split = []
        for group in groups:
            for decays in (True, False):
                chosen = [p for p in group["params"] if (p.ndim >= 2) == decays]
                if chosen:
                    name = group["name"] + ("" if decays else "_no_decay")
                    split.append(group | {"name": name, "params": chosen} | ({} if decays else {"weight_decay": 0.0}))
        # A fused optimizer unscales inside its kernel, too late for clipping: under a GradScaler the plain one is made.
        fused = self._scaler() is not None and getattr(self.make_optimizer, "keywords", {}).get("fused")
        optimizer = self.make_optimizer(split, fused=False) if fused else self.make_optimizer(split)
        scheduler = self.make_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    # --- evaluation --------------------------------------------------------------------------------------------

    def _begin_evaluation(self) -> None:
        gather(self)  # ranks evaluate unequal numbers of batches
        self.encoder.reuse(True)
        if self.encoder.cache is None:
            self._open_cache(wanted=("always",))
        self.meter.begin()

    def _measure(self, batch: Batch) -> None:
        self.meter.update(batch.row, self.scales.restore(predictions(self(batch), self.funnel)))

    def _conclude(self, split: str) -> dict[str, dict[str, Any]]:
        """Gather the split's predictions, keep them, compute the protocol's metrics and log their values."""
        release(self)
        self.encoder.reuse(False)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, LogDataModule)
        split_rows = np.sort(data.rows(split))
        rows, predicted = self.meter.columns(split_rows, partial=self._limited(split))
        kept = np.searchsorted(split_rows, rows)
        columns: dict[str, NDArray[Any]] = {name: values[kept] for name, values in data.columns(split).items()}
        columns |= predicted
        self.predicted[split] = columns
        if split == "predict":
            return {}
        self.finite.require_predictions(split, predicted)
        measured = evaluate(columns, self.funnel, **self.evaluation)
        self.log_dict(
            {
                f"{split}/{key}": float("nan") if entry["value"] is None else float(entry["value"])
                for key, entry in measured.items()
            },
            rank_zero_only=False,
        )
        return measured

    def _limited(self, split: str) -> bool:
        limits = {
            "validation": self.trainer.limit_val_batches,
            "test": self.trainer.limit_test_batches,
            "predict": self.trainer.limit_predict_batches,
        }
        return limits[split] != 1.0

    def on_validation_epoch_start(self) -> None:
        """Start afresh."""
        self._begin_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions."""
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        """Metrics over the whole split."""
        self.measured["validation"] = self._conclude("validation")
        self.validated_at = self.global_step

    def on_test_epoch_start(self) -> None:
        """Start afresh."""
        self._begin_evaluation()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect predictions."""
        self._measure(batch)

    def on_test_epoch_end(self) -> None:
        """Metrics over the whole split."""
        self.measured["test"] = self._conclude("test")

    def on_predict_epoch_start(self) -> None:
        """Start afresh."""
        self._begin_evaluation()

    def predict_step(self, batch: Batch, batch_idx: int) -> bool:
        """Collect predictions. (Lightning takes None for an oversight and warns.)"""
        self._measure(batch)
        return True

    def on_predict_epoch_end(self) -> None:
        """Keep the columns; there is nothing to measure."""
        self._conclude("predict")

    # --- state that torch does not keep ------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what torch does not; leave out frozen weights, which the backbone's home has."""
        frozen = set(frozen_weights(self))
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in frozen}
        checkpoint |= kept_of(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse, before Lightning loads any tensor or asks for optimizers. The tuning method's state is restored
        in `on_fit_start`, after `begin`.
        """
        take_up(self, checkpoint)
        self._saved_tuning_state = checkpoint["tuning"]

    @cached_property
    def frozen_sum(self) -> str:
        """sha256 of the frozen weights: nothing moves them."""
        return sum_of(frozen_weights(self))

    def restore_weights(self, checkpoint: Mapping[str, Any]) -> None:
        """Take over the weights of a checkpoint of this very run, and the tuning method's state with them."""
        restore(self, checkpoint)
