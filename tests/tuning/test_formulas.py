"""Bottleneck adapters against their published formulas, in NumPy."""

import math

import numpy as np
import pytest
import torch

from architectures import build
from funneltune.tuning import Houlsby, Pfeiffer, PfeifferHub


def dense(weights, name, x):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(weights, name, x, eps):
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


@pytest.mark.parametrize("method", [Houlsby, Pfeiffer])
def test_an_adapter_inside_the_residual_is_its_formula(method):
    model = build("bert")
    method(bottleneck=3, init_std=0.3).apply(model)
    block = model.encoder.layer[0].output
    hidden, residual = torch.randn(2, 5, 64), torch.randn(2, 5, 32)
    found = block(hidden, residual).detach().double().numpy()
    w = {name: p.detach().double().numpy() for name, p in block.named_parameters()}
    h = dense(w, "dense", hidden.double().numpy())
    h = h + dense(w, "dropout.1.up", gelu(dense(w, "dropout.1.down", h)))
    wanted = norm(w, "LayerNorm", h + residual.double().numpy(), model.config.layer_norm_eps)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_only_houlsby_adapts_what_attention_puts_out():
    for method, there in ((Houlsby, True), (Pfeiffer, False), (PfeifferHub, False)):
        model = build("bert")
        method(bottleneck=3).apply(model)
        names = [name for name, _ in model.named_parameters() if "attention.output" in name and ".down." in name]
        assert bool(names) == there


def test_adapterhubs_pfeiffer_reads_the_blocks_output_and_adds_before_its_norm():
    model = build("bert")
    PfeifferHub(bottleneck=3, init_std=0.3).apply(model)
    block = model.encoder.layer[0].output
    hidden, residual = torch.randn(2, 5, 64), torch.randn(2, 5, 32)
    found = block(hidden, residual).detach().double().numpy()
    w = {name: p.detach().double().numpy() for name, p in block.named_parameters()}
    eps = model.config.layer_norm_eps
    summed = dense(w, "dense", hidden.double().numpy()) + residual.double().numpy()
    put_out = norm(w, "LayerNorm.norm", summed, eps)
    changed = dense(w, "LayerNorm.adapter.up", np.maximum(dense(w, "LayerNorm.adapter.down", put_out), 0))
    np.testing.assert_allclose(found, norm(w, "LayerNorm.norm", summed + changed, eps), atol=1e-5)
