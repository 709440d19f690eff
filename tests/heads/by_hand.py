"""The papers' building blocks in NumPy, with a module's own weights."""

import numpy as np
from scipy.special import softmax
from torch import nn


def relu(x):
    return np.maximum(x, 0)


def linear(layer, x):
    found = x @ layer.weight.detach().numpy().T
    return found if layer.bias is None else found + layer.bias.detach().numpy()


def layers_of(network, x):
    """Linear layers, each under a ReLU but for the last of a tower."""
    parts = [m for m in network.modules() if isinstance(m, nn.Linear | nn.ReLU)]
    for part in parts:
        x = relu(x) if isinstance(part, nn.ReLU) else linear(part, x)
    return x


def tower_of(network, x):
    """The logit of a binary task."""
    return layers_of(network, x)[:, 0]


def gate_of(network, x):
    """Softmax of the gate's layers."""
    return softmax(layers_of(network, x), axis=1)


def experts_of(experts, x):
    """(rows, experts, width), expert by expert."""
    found = []
    for e in range(experts.count):
        size = experts.first.out_features // experts.count
        part = slice(e * size, (e + 1) * size)
        h = relu(x @ experts.first.weight.detach().numpy()[part].T + experts.first.bias.detach().numpy()[part])
        for layer in experts.deeper:
            bias = layer.bias.detach().numpy().reshape(experts.count, -1)[e]
            h = relu(h @ layer.weight.detach().numpy()[e] + bias)
        found.append(h)
    return np.stack(found, axis=1)


def mixture(weights, experts):
    return (weights[:, :, None] * experts).sum(1)
