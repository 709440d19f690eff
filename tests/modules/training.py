"""A small model, put together by hand and trained for a few steps, for the tests of balancing and adversaries."""

import logging
import warnings

import lightning as L
import torch

from funneltune.backbones import build_interaction
from funneltune.heads import SharedBottom
from funneltune.modules import constant, module_class
from funneltune.objectives import MaskedBCE
from funneltune.tuning import Full


def module_of(backbone, funnel, *, head=SharedBottom, objective=MaskedBCE, tuning=None, lr=0.1, **more):
    torch.manual_seed(0)
    encoder = backbone.encoder()
    interaction = build_interaction("twin", encoder.width)
    tuning = tuning or Full(learning_rate=0.1)
    tuning.apply(encoder.backbone)
    return module_class(tuning)(
        encoder=encoder,
        interaction=interaction,
        head=head(interaction.width, funnel),
        objective=objective(funnel),
        tuning=tuning,
        funnel=funnel,
        optimizer=lambda groups: torch.optim.SGD(groups, lr=lr),
        scheduler=constant,
        **more,
    )


def fit(module, data, folder, *, steps=1, accumulate=1, callbacks=(), **more):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        accumulate_grad_batches=accumulate,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **more,
    )
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=data)
    return trainer


class Batches(L.Callback):
    """The batches of a run, and the weights before the first one."""

    def __init__(self):
        self.seen = []

    def on_train_start(self, trainer, module):
        self.before = {name: p.detach().clone() for name, p in module.named_parameters()}

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen.append(batch)


def weights_of(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def put(module, weights):
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(weights[name])


def term_gradients(module, batches):
    """Task -> parameter -> gradient of the step's term, by one plain backward pass per task and batch."""
    found = {}
    names = [name for name, p in module.named_parameters() if p.requires_grad and not name.startswith("balancing.")]
    parameters = dict(module.named_parameters())
    module.train()
    for batch in batches:
        for task in module.funnel.names:
            module.zero_grad(set_to_none=True)
            module.objective(batch, module(batch)).terms[task].backward()
            own = found.setdefault(task, {})
            for name in names:
                if parameters[name].grad is not None:
                    own[name] = own.get(name, 0) + parameters[name].grad.clone()
    module.zero_grad(set_to_none=True)
    return found
