"""float16: a step that the gradient scaler skips moves nothing, AdaLoRA's schedule included."""

from functools import partial

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision

from funneltune.backbones import build_interaction
from funneltune.errors import ConfigError
from funneltune.heads import ESMM
from funneltune.modules import module_class, warmup_linear
from funneltune.objectives import MaskedBCE
from funneltune.runs.precision import resolve_precision
from funneltune.tuning import AdaLoRA

OVERFLOWING = (2, 7, 8)
"""Backward passes in which a gradient is infinite."""


class Spy(L.Callback):
    """Overflows chosen gradients; keeps the weights before and after each step."""

    def __init__(self):
        self.seen, self.moved, self.allocated = 0, [], []

    def on_fit_start(self, trainer, module):
        weight = next(p for p in module.head.parameters() if p.requires_grad and p.ndim == 2)
        weight.register_hook(self.overflow)
        after_step = module.tuning.after_step
        module.tuning.after_step = lambda step: self.allocated.append(step) or after_step(step)
        self.weight = weight

    def overflow(self, gradient):
        self.before = self.weight.detach().clone()
        self.seen += 1
        return gradient * float("inf") if self.seen - 1 in OVERFLOWING else gradient

    def on_train_batch_end(self, *_):
        self.moved.append(not torch.equal(self.before, self.weight))


def fit(make_data, tiny_backbone, funnel, tmp_path):
    data = make_data()
    encoder = tiny_backbone.encoder()
    interaction = build_interaction("twin", encoder.width)
    tuning = AdaLoRA(target_rank=1, initial_rank=3, warmup_steps=2, final_steps=8, learning_rate=1e-2)
    tuning.apply(encoder.backbone)
    module = module_class(tuning)(
        encoder=encoder,
        interaction=interaction,
        head=ESMM(interaction.width, funnel, hidden=(8,)),
        objective=MaskedBCE(funnel),
        tuning=tuning,
        funnel=funnel,
        optimizer=partial(torch.optim.AdamW, lr=1e-2, fused=True),
        scheduler=warmup_linear,
    )
    spy = Spy()
    trainer = L.Trainer(
        accelerator="cpu",
        plugins=[MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))],
        max_epochs=1,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        default_root_dir=tmp_path,
        callbacks=[spy],
    )
    # The scaler lowers its scale before the schedule of the learning rate steps; torch takes that for a wrong order.
    trainer.fit(module, datamodule=data)
    return module, spy, trainer


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_skipped_steps_do_not_shift_the_schedule(make_data, tiny_backbone, funnel, tmp_path):
    module, spy, trainer = fit(make_data, tiny_backbone, funnel, tmp_path)
    assert trainer.global_step == len(spy.moved) > 15
    assert [step for step, moved in enumerate(spy.moved) if not moved] == list(OVERFLOWING)
    assert module.skipped_steps == len(OVERFLOWING)
    assert module.steps_taken == trainer.global_step - len(OVERFLOWING)
    assert spy.allocated == list(range(module.steps_taken))
    module.tuning.finish()
    pattern = module.tuning.rank_pattern()
    assert sum(pattern.values()) == len(pattern)
    assert all(torch.isfinite(p).all() for p in module.parameters())
    assert not trainer.optimizers[0].defaults["fused"]


def test_float16_on_a_cpu_is_refused_where_lightning_would_take_bfloat16():
    with pytest.raises(ConfigError, match=r"trainer\.precision=16-mixed needs a GPU"):
        resolve_precision("16-mixed", "cpu")
    assert resolve_precision("16-mixed", "gpu") == "16-mixed"
