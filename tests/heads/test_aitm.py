"""AITM against Xi et al. 2021."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import AITM
from funneltune.schema import log_probabilities
from heads.by_hand import layers_of, linear, tower_of

STEPS = TaskFunnel.from_config({"a": {}, "b": {"given": ["a"]}, "c": {"given": ["b", "a"]}})
BRANCHES = TaskFunnel.from_config(
    {
        "click": {},
        "cart": {"given": ["click"]},
        "purchase": {"given": ["cart"]},
        "impulse": {"given": ["click", "!cart"]},
        "stars": {"given": ["purchase"], "kind": "ordinal", "levels": [1, 2, 3]},
    }
)


def test_each_step_attends_to_what_the_one_before_passes_on():
    head, x = AITM(5, STEPS, hidden=(6, 4)), torch.randn(9, 5)
    output = head(dict.fromkeys(STEPS.names, x))
    p = None
    for task in STEPS.names:
        z = layers_of(head.own[task], x.numpy())
        if p is not None:
            ait = head.transfers[task]
            scores = [(linear(ait.query, u) * linear(ait.key, u)).sum(1) / 2.0 for u in (p, z)]  # k = 4
            w = softmax(np.stack(scores, axis=1), axis=1)
            np.testing.assert_allclose(output.gates[f"aitm/{task}"].detach(), w, atol=1e-6)
            z = w[:, [0]] * linear(ait.value, p) + w[:, [1]] * linear(ait.value, z)
        np.testing.assert_allclose(output.logits[task].detach(), tower_of(head.towers[task], z), atol=1e-6)
        if task in head.passed:
            p = layers_of(head.passed[task], z)
    assert list(head.passed) == ["a", "b"]
    assert set(output.spaces.values()) == {"marginal"}


def pushed(head, **logits):
    """The head's output where its towers say these logits."""
    for name, logit in logits.items():
        head.towers[name][1].weight.data.zero_()
        head.towers[name][1].bias.data.fill_(logit)
    return head(dict.fromkeys(head.funnel.names, torch.randn(3, 5)))


def test_the_calibrator_costs_what_a_step_is_likelier_than_the_one_before():
    output = pushed(AITM(5, STEPS), a=-1.0, b=0.5, c=0.0)
    assert set(output.penalties) == {"calibrator_b", "calibrator_c"}
    wanted = 0.6 * (expit(0.5) - expit(-1.0))
    np.testing.assert_allclose(output.penalties["calibrator_b"].detach(), np.full(3, wanted), rtol=1e-5)
    assert not output.penalties["calibrator_c"].any()


def test_the_calibrator_draws_both_together_and_leaves_an_order_that_holds():
    head = AITM(5, STEPS)
    output = pushed(head, a=-1.0, b=0.5, c=0.0)
    sum(rows.mean() for rows in output.penalties.values()).backward()
    bias = {name: head.towers[name][1].bias.grad.item() for name in STEPS.names}
    assert bias["a"] < 0 < bias["b"]  # a step against the gradient raises p(a) and lowers p(b)
    assert bias["c"] == 0


def test_steps_hear_from_their_deepest_edge_and_are_bound_by_what_must_have_happened():
    head = AITM(5, BRANCHES)
    assert head.before == {"cart": "click", "purchase": "cart", "impulse": "cart", "stars": "purchase"}
    assert head.bounds == {"cart": "click", "purchase": "cart", "impulse": "click"}
    assert AITM(5, STEPS).before["c"] == "b"
    output = head(dict.fromkeys(BRANCHES.names, torch.randn(3, 5)))
    assert output.spaces["stars"] == "conditional"
    assert output.logits["stars"].shape == (3, 2)
    assert set(output.penalties) == {"calibrator_cart", "calibrator_purchase", "calibrator_impulse"}
    found = log_probabilities(output, BRANCHES)
    torch.testing.assert_close(found.joint["purchase"], torch.nn.functional.logsigmoid(output.logits["purchase"]))


def test_a_later_steps_loss_reaches_the_steps_before_and_no_later_one():
    head = AITM(5, STEPS)
    head(dict.fromkeys(STEPS.names, torch.randn(50, 5))).logits["b"].sum().backward()
    reached = {name for name, p in head.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    parts = {".".join(name.split(".")[:2]) for name in reached}
    assert parts == {"own.a", "own.b", "passed.a", "transfers.b", "towers.b"}


def test_no_parameter_is_without_use():
    head = AITM(5, BRANCHES)
    output = head(dict.fromkeys(BRANCHES.names, torch.randn(5, 5)))
    sum(logit.sum() for logit in output.logits.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


def test_without_weight_there_is_no_calibrator_and_a_negative_one_is_refused():
    assert not AITM(5, STEPS, alpha=0.0)(dict.fromkeys(STEPS.names, torch.randn(3, 5))).penalties
    for alpha in (-0.1, float("nan")):
        with pytest.raises(ConfigError, match=r"head.alpha=.* must be >= 0, the weight of the calibrator"):
            AITM(5, STEPS, alpha=alpha)
