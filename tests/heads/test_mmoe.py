"""MMoE and OMoE against Ma et al. 2018, eqs. 1 and 5-8."""

import numpy as np
import pytest
import torch

from funneltune.heads import MMoE, OMoE
from heads.by_hand import experts_of, gate_of, mixture, tower_of


@pytest.mark.parametrize("gate_hidden", [(), (6,)])
def test_mmoe_is_the_papers_equations(funnel, gate_hidden):
    head, x = MMoE(5, funnel, experts=3, expert_hidden=(7, 4), gate_hidden=gate_hidden), torch.randn(9, 5)
    output = head(dict.fromkeys(funnel.names, x))
    f = experts_of(head.experts, x.numpy())
    for task in funnel.names:
        g = gate_of(head.gates[task], x.numpy())
        np.testing.assert_allclose(output.gates[task].detach(), g, atol=1e-6)
        wanted = tower_of(head.towers[task], mixture(g, f))
        np.testing.assert_allclose(output.logits[task].detach(), wanted, atol=1e-6)


def test_omoe_has_one_gate(funnel):
    head, x = OMoE(5, funnel, experts=3, expert_hidden=(7,)), torch.randn(9, 5)
    output = head(dict.fromkeys(funnel.names, x))
    g = gate_of(head.gate, x.numpy())
    mixed = mixture(g, experts_of(head.experts, x.numpy()))
    assert list(output.gates) == ["shared"]
    np.testing.assert_allclose(output.gates["shared"].detach(), g, atol=1e-6)
    for task in funnel.names:
        np.testing.assert_allclose(output.logits[task].detach(), tower_of(head.towers[task], mixed), atol=1e-6)


def test_mmoe_with_equal_gates_is_omoe(funnel):
    many, one = MMoE(5, funnel), OMoE(5, funnel)
    one.experts.load_state_dict(many.experts.state_dict())
    one.towers.load_state_dict(many.towers.state_dict())
    for gate in many.gates.values():
        gate.load_state_dict(one.gate.state_dict())
    inputs = dict.fromkeys(funnel.names, torch.randn(9, 5))
    for task in funnel.names:
        torch.testing.assert_close(many(inputs).logits[task], one(inputs).logits[task])


def test_sizes_start_as_in_the_papers_study_on_synthetic_data(funnel):
    head = MMoE(100, funnel)
    assert sum(p.numel() for p in head.experts.parameters()) == 8 * (100 * 16 + 16)
    assert sum(p.numel() for p in head.gates.parameters()) == 2 * 100 * 8
    assert sum(p.numel() for p in head.towers.parameters()) == 2 * (16 * 8 + 8 + 8 + 1)


@pytest.mark.parametrize("head", [MMoE, OMoE])
def test_experts_read_each_representation_once(funnel, head):
    head, calls = head(4, funnel), []
    head.experts.register_forward_hook(lambda *_: calls.append(1))
    shared = torch.ones(2, 4)
    head(dict.fromkeys((*funnel.names, "shared"), shared))
    assert len(calls) == 1
    output = head({"click": shared, "purchase": 2 * shared, "shared": 3 * shared})
    assert len(calls) == 3
    assert set(output.gates) == {"click", "purchase"}
