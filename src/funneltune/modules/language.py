"""The LightningModule of a language model: wiring, no maths."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim import Optimizer
from transformers import PreTrainedModel

from funneltune.errors import FailedRunError
from funneltune.modules.clipping import clip, gradients
from funneltune.modules.replacing import take_over
from funneltune.modules.schedule import split_by_decay
from funneltune.schema import NOT_ASKED, LanguageBatch
from funneltune.tuning import TuningMethod


class LanguageModule(L.LightningModule):
    """Trains a language model on texts; which of its backbone's weights move is the tuning method's business.

    Its head (what lies above the backbone and is not tied to it) is trained whole, at the optimizer's own rate. The
    loss is the mean negative log-likelihood of the batch's targets, in nats; perplexity is its exponential.

    Args:
        model: transformers' model with its language-modelling head.
        tuning: A method that was applied to `model.base_model`.
        optimizer: Makes the optimizer from parameter groups.
        scheduler: Makes the schedule from optimizer and number of steps.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tuning: TuningMethod,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., Any],
    ) -> None:
        super().__init__()
        self.model = model
        self.tuning = tuning
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.measured: dict[str, float] = {}
        """Of the last pass over held-out texts: `loss` (nats per target), `perplexity`, `targets`."""
        self._sums = [0.0, 0.0]
        self._steps_taken = 0

    @property
    def head(self) -> list[nn.Parameter]:
        """The parameters above the backbone that are not its own."""
        own = {id(p) for p in self.model.base_model.parameters()}
        return [p for p in self.model.parameters() if id(p) not in own]

    def losses(self, batch: LanguageBatch) -> Float[Tensor, " targets"]:
        """The negative log-likelihood of each target, in nats.

        The head reads the places alone that have a target: a vocabulary's worth of logits for each of the others would
        be most of the work.
        """
        lengths = batch.texts.lengths.tolist()
        padding = getattr(self.model.config, "pad_token_id", None) or 0
        tokens = pad_sequence(list(torch.split(batch.texts.token_ids, lengths)), True, padding)
        targets = pad_sequence(list(torch.split(batch.targets, lengths)), True, NOT_ASKED)
        real = torch.arange(tokens.shape[1], device=tokens.device) < batch.texts.lengths.unsqueeze(1)
        asked = targets != NOT_ASKED

        def narrowed(_: nn.Module, __: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[asked].unsqueeze(0)
            return output

        hook = self.model.base_model.register_forward_hook(narrowed)
        try:
            logits = self.model(input_ids=tokens, attention_mask=real.long()).logits[0]
        finally:
            hook.remove()
        return F.cross_entropy(logits.float(), targets[asked], reduction="none")

    # --- training ------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Tell the tuning method how many optimizer steps it has."""
        self.tuning.begin(int(self.trainer.estimated_stepping_batches))

    def training_step(self, batch: LanguageBatch, batch_idx: int) -> Tensor:
        """Mean loss of the batch's targets, and the tuning method's penalty."""
        losses = self.losses(batch)
        loss = losses.sum() / max(1, len(losses))
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch))
        return loss + self.tuning.penalty().to(loss.device)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Stop at a gradient that is not finite; then clip.

        Raises:
            FailedRunError: where the model diverged.
        """
        parameters, norm = gradients(optimizer)
        if not torch.isfinite(norm):
            raise FailedRunError(
                f"pretraining: a gradient is not finite at step {self.global_step}; lower pretraining.learning_rate or "
                "optimizer.lr, or set trainer.precision=32-true."
            )
        clip(parameters, norm, gradient_clip_val, gradient_clip_algorithm)
        self.log("train/gradient_norm", norm)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """The optimizer's step, then the tuning method's, while gradients still exist."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        change = self.tuning.after_step(self._steps_taken)
        if change is not None:
            take_over(change, self.optimizers(use_pl_optimizer=False), self.trainer.strategy)  # type: ignore[arg-type]
        self._steps_taken += 1

    def configure_optimizers(self) -> Any:
        """The head at the optimizer's rate, the backbone at the tuning method's."""
        groups = split_by_decay([{"name": "head", "params": self.head}, *self.tuning.parameter_groups()])
        optimizer = self.make_optimizer(groups)
        scheduler = self.make_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    # --- held-out texts ------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Count anew."""
        self._sums = [0.0, 0.0]

    def validation_step(self, batch: LanguageBatch, batch_idx: int) -> None:
        """Add up; the mean is over targets, not over batches."""
        losses = self.losses(batch)
        self._sums[0] += float(losses.double().sum())
        self._sums[1] += len(losses)

    def on_validation_epoch_end(self) -> None:
        """Loss and perplexity over all held-out targets."""
        total, count = self._sums
        loss = total / count if count else math.nan
        perplexity = math.exp(min(loss, 700.0)) if count else math.nan
        self.measured = {"loss": loss, "perplexity": perplexity, "targets": count}
        self.log_dict({"validation/lm/loss": loss, "validation/lm/perplexity": perplexity})
