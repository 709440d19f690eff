"""A small model over Poisson draws, for the tests of differentially private training."""

import dataclasses

import numpy as np
import torch

from funneltune.data import PrivateData
from funneltune.modules import DPSGD, PrivateSteps
from modules.training import module_of


def private_data(make_data, **changes):
    """`make_data`'s log, one text per row, drawn by units; the draws are a function of `key_seed`."""
    given = {"unique": False, "rows_per_batch": 60, "key_seed": 3} | changes
    plain = make_data()
    kept = {
        "source": plain.source,
        "tasks": plain.funnel,
        "split": plain.split,
        "texts": plain.texts,
        "tokenizer": plain.tokenizer,
        "interaction": plain.interaction,
        "eval_rows_per_batch": 64,
        "cache_dir": plain.cache_dir,
    }
    data = PrivateData(**(kept | given))
    data.prepare_data()
    data.setup()
    return data


def private_module(backbone, funnel, *, settings=None, **more):
    asked = {"epsilon": None, "noise": 0.0, "clip": 1e9, "seed": 1} | dict(settings or {})
    module = module_of(backbone, funnel, privacy=PrivateSteps(DPSGD(**asked)), **more)
    module.encoder.packed, module.encoder.one_chunk_in_training = False, True
    return module


def drawn(data, number=0):
    """A training batch, by its number in the first epoch."""
    return data.collator()(next(iter(data.plan().draws(skip=number))))


def unit_gradients(module, data, batch):
    """Parameter -> (units, ...): by one plain backward pass per unit, over a batch of its rows alone."""
    module.train()
    found = {name: [] for name, p in module.named_parameters() if p.requires_grad}
    plan = data.plan()
    for unit in range(int(batch.unit.max()) + 1):
        rows = batch.row[batch.unit == unit].numpy()
        alone = dataclasses.replace(
            data.collator().rows(rows), step_rows=batch.step_rows, step_observed=batch.step_observed
        )
        module.zero_grad(set_to_none=True)
        module.objective(alone, module(alone)).total().backward()
        for name, parameter in module.named_parameters():
            if name in found:
                grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
                found[name].append(grad * plan.expected_units)
    module.zero_grad(set_to_none=True)
    return {name: torch.stack(each) for name, each in found.items()}


def norms(gradients):
    """The norm of each unit's gradient, over all parameters."""
    squares = [each.flatten(1).square().sum(1) for each in gradients.values()]
    return np.sqrt(torch.stack(squares).sum(0).numpy())
