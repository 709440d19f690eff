"""Batches made up for tests of objectives: pages of clicks and purchases, and heads' logits beside them."""

import numpy as np
import torch

from funneltune.funnel import TaskFunnel
from funneltune.schema import Batch, HeadOutput, Texts

CART = TaskFunnel.from_config({"click": {}, "cart": {"given": ["click"]}, "purchase": {"given": ["click", "cart"]}})
PATHS = TaskFunnel.from_config(
    {
        "click": {},
        "cart": {"given": ["click"]},
        "purchase": {"given": ["click", "cart"]},
        "direct": {"given": ["!cart"]},
    }
)


def tensors(found):
    return {name: torch.as_tensor(np.asarray(values), dtype=torch.float32) for name, values in (found or {}).items()}


def batch_of(funnel, labels, *, columns=None, known=None, request=None, **more):
    """Labels by task; a label outside its space is set to NaN, for nothing may read it."""
    labels = tensors(labels)
    n = len(labels[funnel.names[0]])
    observed = {}
    for name in funnel.names:
        seen = torch.ones(n)
        for edge in funnel.way_to(name):
            seen = seen * ((labels[edge.name] == 1) == edge.holds)
        observed[name] = seen
    known = tensors(known)
    for name, final in known.items():
        observed[name] = observed[name] * final
    nothing = torch.zeros(0, dtype=torch.long)
    return Batch(
        texts=Texts(nothing, nothing, nothing),
        text_of_row={},
        labels={name: torch.where(observed[name] > 0, labels[name], torch.nan) for name in funnel.names},
        observed=observed,
        request=torch.arange(n) // 4 if request is None else torch.as_tensor(request),
        row=torch.arange(n),
        columns=tensors(columns),
        known=known,
        **more,
    )


def output_of(logits, towers=None, space="conditional"):
    return HeadOutput(dict(logits), dict.fromkeys(logits, space), towers=dict(towers or {}))


def part_of(whole, rows):
    """Some rows of a batch that is one optimizer step, as a micro-batch of it."""

    def cut(values):
        return {name: value[rows] for name, value in values.items()}

    return Batch(
        texts=whole.texts,
        text_of_row={},
        labels=cut(whole.labels),
        observed=cut(whole.observed),
        request=whole.request[rows],
        row=whole.row[rows],
        columns=cut(whole.columns),
        known=cut(whole.known),
        weight=None if whole.weight is None else whole.weight[rows],
        rates=whole.rates,
        step_rows=whole.count(),
        step_observed={name: whole.count(name) for name in whole.observed},
        step_known={name: whole.count_known(name) for name in whole.known},
    )


def drawn_labels(rng, n, funnel=None, p=0.5):
    """Labels that respect the funnel's edges."""
    labels = {}
    for task in funnel.tasks:
        seen = np.ones(n, dtype=bool)
        for edge in funnel.way_to(task.name):
            seen &= (labels[edge.name] == 1) == edge.holds
        labels[task.name] = (seen & (rng.random(n) < p)).astype(float)
    return labels


def sigmoid(logit):
    return 1.0 / (1.0 + np.exp(-np.asarray(logit, dtype=np.float64)))


def entropy(p, y):
    """The cross-entropy of each row in NumPy."""
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))
