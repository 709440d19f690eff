"""The LightningModule that all tuning methods share: wiring only, the maths lives in the rooms below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from funneltune.backbones import Encoder, NoEncoder
from funneltune.data import LogDataModule
from funneltune.features import Features
from funneltune.funnel import TaskFunnel
from funneltune.heads import Head
from funneltune.modules.adversary import Adversary, StepLosses
from funneltune.modules.balancer import Balancer
from funneltune.modules.clipping import clip, gradients
from funneltune.modules.evaluating import EvaluatingModule
from funneltune.modules.experts import expert_use
from funneltune.modules.finite import FiniteGuard
from funneltune.modules.private_steps import PrivateSteps, nothing
from funneltune.modules.replacing import take_over
from funneltune.modules.schedule import split_by_decay
from funneltune.modules.sharding import shard_model
from funneltune.modules.state import frozen_weights, kept_of, restore, sum_of, take_up
from funneltune.objectives import Balancing, Fixed, Objective
from funneltune.schema import SHARED, Batch, HeadOutput, LossTerms
from funneltune.tuning import TuningMethod


class FunnelModule(EvaluatingModule):
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
        features: Mapping[str, Features] | None = None,
        towers: nn.Module | None = None,
        objective: Objective,
        tuning: TuningMethod,
        funnel: TaskFunnel,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler],
        evaluation: Mapping[str, Any] | None = None,
        skip_nonfinite: int = 0,
        balancing: Balancing | None = None,
        adversary: Adversary | None = None,
        gradients_every: int = 0,
        privacy: PrivateSteps | None = None,
    ) -> None:
        super().__init__(funnel, evaluation)
        self.strict_loading = False  # a checkpoint leaves frozen weights out; `on_load_checkpoint` sees to the rest
        self.encoder = encoder
        self.interaction = interaction
        self.head = head
        self.features = nn.ModuleDict(features or {})
        self.towers = towers
        self.objective = objective
        self.tuning = tuning
        # One task has nothing to be balanced with.
        self.balancing = balancing if balancing is not None and len(funnel.names) > 1 else Fixed(funnel)
        self.balancer = Balancer(self.balancing, gradients_every)
        self.adversary = adversary
        self.privacy = privacy
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.steps_taken = 0
        """Optimizer steps that moved the weights."""
        self.skipped_steps = 0
        """Optimizer steps that a GradScaler skipped because a gradient had overflowed."""
        self.finite = FiniteGuard(skip_nonfinite)
        self._saved_tuning_state: dict[str, Any] | None = None
        encoder.boundary = tuning.lowest_trained_layer

    # --- forward -----------------------------------------------------------------------------------------------

    def forward(self, batch: Batch) -> HeadOutput:
        """Logits per task and row. The encoder runs in the trainer's precision, what follows in the weights' own."""
        return self.score(batch, self.encoder.views(batch.texts))

    def score(self, batch: Batch, vectors: Mapping[str, Tensor]) -> HeadOutput:
        """The logits of rows whose texts have these vectors, by whom they serve (`Encoder.views`)."""
        return self.read(batch, self.inputs(batch, vectors))

    def read(self, batch: Batch, inputs: Mapping[str, Tensor]) -> HeadOutput:
        """The head's logits, and while training what the objective asked for beside."""
        with self._whole_precision(inputs):
            output: HeadOutput = self.head(inputs)
            if self.towers is None or not self.training:  # only a loss reads them
                return output
            return replace(output, towers=self.towers(inputs, batch.columns))

    def inputs(self, batch: Batch, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a head reads, by task: of the text vectors and features the task's own where there are, else shared."""
        with self._whole_precision(vectors):
            return self._inputs(batch, {view: found.to(self.dtype) for view, found in vectors.items()})

    def _whole_precision(self, tensors: Mapping[str, Tensor]) -> torch.autocast:
        return torch.autocast(device_type=next(iter(tensors.values())).device.type, enabled=False)

    def _inputs(self, batch: Batch, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        made: dict[tuple[str, str], Tensor] = {}
        found: dict[str, Tensor] = {}
        # Where each task has a vector of its own, there need be none that they share.
        own = [view for view in cast(Head, self.head).views if view != SHARED or SHARED in vectors]
        for view in dict.fromkeys((*self.funnel.names, *own)):
            read = (view if view in vectors else SHARED, view if view in self.features else SHARED)
            if read not in made:
                text = vectors[read[0]]
                pairs = self.interaction(batch, text)
                if read[1] in self.features:
                    pairs = torch.cat([pairs, self.features[read[1]](batch, text)], dim=-1)
                made[read] = pairs
            found[view] = made[read]
        return found

    def parts_above(self) -> list[nn.Module]:
        """What is trained beside the backbone."""
        parts = (self.interaction, *self.features.values(), self.head, self.towers)
        return [part for part in parts if part is not None]

    # --- sharding ----------------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Under `trainer=fsdp2`: shard each layer, the rest of the encoder and the head over the ranks."""
        if not isinstance(self.trainer.strategy, ModelParallelStrategy):
            return
        assert self.device_mesh is not None
        assert isinstance(self.encoder, Encoder)
        shard_model(self.encoder, self.parts_above(), self.device_mesh)

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
        if self.privacy is not None:
            self.privacy.begin(self)

    def on_fit_end(self) -> None:
        """Nothing is watched beyond the fit."""
        if self.privacy is not None:
            self.privacy.end()

    def _measure_training_rows(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, LogDataModule):
            self.scales.fit({name: data.training_labels(name) for name in self.scales.tasks})
            for features in self.features.values():
                cast(Features, features).fit(data.training_numbers())

    def losses_of(self, batch: Batch, output: HeadOutput) -> StepLosses:
        """The objective's terms and the head's penalties: this batch's shares of the step's."""
        penalties = {name: batch.weighed(rows).sum() / batch.count() for name, rows in output.penalties.items()}
        return StepLosses(output, self.objective(batch, output), penalties)

    def balanced(self, terms: LossTerms) -> Tensor:
        """One loss from the tasks'."""
        return LossTerms(self.balancing(terms.terms)).total()

    def on_train_epoch_start(self) -> None:
        """Tell the balancing."""
        self.balancing.begin_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Gradients that an aggregator makes are reduced by the balancer, not by DDP."""
        self.balancer.no_sync(self.trainer.strategy)
        if self.privacy is not None:
            self.privacy.begin_batch(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The step's loss as this batch sees it, plus the tuning method's penalty (once per step)."""
        if self.privacy is not None and not len(batch):
            return nothing(self.device)
        batch = self.scales.standardise(batch)
        share = self.trainer.world_size * self.trainer.accumulate_grad_batches
        if self.adversary:
            found, raised = self.adversary.losses(self, batch, self.loss_scale())
            self.log("train/adversarial_rise", raised * share, batch_size=len(batch))
        else:
            found = self.losses_of(batch, self(batch))
        self.finite.watch(batch, found.output, found.terms)
        loss = self.balanced(found.terms) * share
        for name, part in found.penalties.items():
            self.log(f"train/penalty_{name}", part.detach() * share, batch_size=len(batch))
            loss = loss + part * share
        penalty = self.tuning.penalty().to(loss.device)
        self._log_losses(batch, found, loss, penalty, share)
        self.balancer.hold(found.terms.terms, (*found.penalties.values(), penalty / share))
        own = self.balancing.regulariser()
        return loss + penalty if own is None else loss + penalty + own

    def _log_losses(self, batch: Batch, found: StepLosses, loss: Tensor, penalty: Tensor, share: int) -> None:
        terms, notes, weights = found.terms.terms, found.terms.notes, self.balancing.weights()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        values = {f"train/loss_{name}": term.detach() * share for name, term in terms.items()}
        self.log_dict(values, batch_size=len(batch))
        self.log_dict({f"train/{name}": note.detach() for name, note in notes.items()}, batch_size=len(batch))
        self.log_dict(expert_use({**found.output.gates, **self.encoder.gates}), batch_size=len(batch))
        if weights is not None:
            values = {f"train/weight_{name}": w.detach() for name, w in zip(self.funnel.names, weights, strict=True)}
            self.log_dict(values, batch_size=len(batch))
        if penalty.requires_grad:
            self.log("train/penalty", penalty.detach(), batch_size=len(batch))

    def backward(self, loss: Tensor, *arguments: Any, **keywords: Any) -> None:
        """Of the loss, and of each task's term where the balancing asks for it."""
        self.balancer.backward(self, lambda: super(FunnelModule, self).backward(loss, *arguments, **keywords))
        if self.privacy is not None:
            self.privacy.after_backward(self.optimizers(use_pl_optimizer=False))  # type: ignore[arg-type]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Stop at a loss or gradient that is not finite, or leave its step out, before it reaches weights, moments or
        importance averages; then clip.

        Under a GradScaler such a gradient is an overflow: the scaler skips the step and lowers its scale.
        """
        self.balancer.before_clipping(self)
        if self.privacy is not None:
            self.privacy.release(optimizer)
        parameters, norm = gradients(optimizer)
        whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if self._scaler() is not None:
            self.finite.forget()
            passes = bool(torch.isfinite(whole))
        else:
            passes = self.finite.passes(whole, self.global_step, self.trainer.strategy.reduce_boolean_decision)
        self.balancer.after_finite(self, passes)
        if not passes:
            for parameter in parameters if self._scaler() is None else ():
                parameter.grad = None  # the optimizer passes over it: no moment moves, nothing decays
            return
        clip(parameters, norm, gradient_clip_val, gradient_clip_algorithm)
        self.log("train/gradient_norm", whole)
        self.log_dict({**self.tuning_scalars(), **self.balancer.scalars})

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

    def loss_scale(self) -> float:
        """What a GradScaler multiplies the loss by; 1 without one."""
        scaler = self._scaler()
        return 1.0 if scaler is None else float(scaler.get_scale())

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
        above = [p for part in self.parts_above() for p in part.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"name": "head", "params": above}, *self.tuning.parameter_groups()]
        split = split_by_decay(groups)
        if learnt := list(self.balancing.parameters()):
            rate = getattr(self.balancing, "learning_rate", None)
            own = {"name": "balancing", "params": learnt, "weight_decay": 0.0}
            split.append(own if rate is None else own | {"lr": rate})
        # A fused optimizer unscales inside its kernel, too late for clipping: under a GradScaler the plain one is made.
        fused = self._scaler() is not None and getattr(self.make_optimizer, "keywords", {}).get("fused")
        optimizer = self.make_optimizer(split, fused=False) if fused else self.make_optimizer(split)
        scheduler = self.make_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

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
