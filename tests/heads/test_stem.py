"""STEM against Su et al. 2024: all forward, task-specific backward."""

import numpy as np
import torch

from funneltune.funnel import TaskFunnel
from funneltune.heads import STEM
from heads.by_hand import experts_of, gate_of, mixture, tower_of

THREE = TaskFunnel.from_config({"a": {}, "b": {"given": ["a"]}, "c": {"given": ["a", "!b"]}})


def small():
    return STEM(5, THREE, task_experts=2, shared_experts=3, expert_hidden=(6, 4), gate_hidden=(3,), hidden=(3,))


def views(rows=50):
    return {view: torch.randn(rows, 5, requires_grad=True) for view in ("shared", "a", "b", "c")}


def test_a_task_weighs_the_experts_of_all_and_the_shared_ones():
    head, inputs = small(), views()
    assert head.views == ("shared", "a", "b", "c")
    output = head(inputs)
    x = {view: vectors.detach().numpy() for view, vectors in inputs.items()}
    experts = [experts_of(head.own[name], x[name]) for name in THREE.names] + [experts_of(head.shared, x["shared"])]
    for name in THREE.names:
        g = gate_of(head.gates[name], x[name] + x["shared"])
        np.testing.assert_allclose(output.gates[f"stem/{name}"].detach(), g, atol=1e-6)
        wanted = tower_of(head.towers[name], mixture(g, np.concatenate(experts, axis=1)))
        np.testing.assert_allclose(output.logits[name].detach(), wanted, atol=1e-6)


def test_no_gradient_enters_another_tasks_experts_or_embeddings():
    head, inputs = small(), views()
    head(inputs).logits["b"].sum().backward()
    reached = {".".join(name.split(".")[:2]) for name, p in head.named_parameters() if p.grad is not None}
    assert reached == {"own.b", "shared.first", "shared.deeper", "gates.b", "towers.b"}
    assert {view for view, vectors in inputs.items() if vectors.grad is not None} == {"shared", "b"}
    for module in (head.own["b"].first, head.shared.first):
        assert module.weight.grad.abs().sum() > 0


def test_what_another_task_says_is_heard_all_the_same():
    head, inputs = small(), views()
    before = head(inputs).logits["b"]
    after = head(inputs | {"a": inputs["a"] + 1.0}).logits["b"]
    assert (before - after).abs().max() > 0


def test_no_parameter_is_without_use():
    head = small()
    sum(logit.sum() for logit in head(views()).logits.values()).backward()
    assert all(p.grad is not None for p in head.parameters())
