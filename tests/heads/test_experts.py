"""Networks side by side, gates and their sums, against NumPy."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import PLE, MMoE
from funneltune.heads.experts import Experts, gate, mixed
from funneltune.heads.towers import mlp
from heads.by_hand import experts_of, gate_of, relu


def test_experts_are_separate_networks_of_one_shape():
    experts, x = Experts(5, 3, (4, 6)), torch.randn(7, 5)
    found = experts(x).detach().numpy()
    assert found.shape == (7, 3, 6)
    first = experts.first.weight.detach().numpy().reshape(3, 4, 5)
    for e in range(3):
        below = relu(x.numpy() @ first[e].T + experts.first.bias.detach().numpy().reshape(3, 4)[e])
        weight, bias = experts.deeper[0].weight[e].detach().numpy(), experts.deeper[0].bias.detach().numpy()
        np.testing.assert_allclose(found[:, e], relu(below @ weight + bias.reshape(3, 6)[e]), atol=1e-6)
    np.testing.assert_allclose(found, experts_of(experts, x.numpy()), atol=1e-6)


def test_experts_start_as_linear_layers_do_and_their_biases_have_one_axis():
    experts = Experts(200, 8, (100, 50))
    plain, _ = mlp(200, (100, 50), 0.0)
    for side_by_side, alone in ((experts.first, plain[0]), (experts.deeper[0], plain[3])):
        assert side_by_side.weight.std().item() == pytest.approx(alone.weight.std().item(), rel=0.05)
        assert side_by_side.bias.std().item() == pytest.approx(alone.bias.std().item(), rel=0.3)
        assert side_by_side.bias.ndim == 1


def test_an_experts_output_depends_on_its_own_weights_alone():
    experts, x = Experts(5, 3, (4, 6)), torch.randn(7, 5)
    experts(x)[:, 1].sum().backward()
    assert experts.deeper[0].weight.grad[1].abs().sum() > 0
    assert not experts.deeper[0].weight.grad[[0, 2]].any()
    assert not experts.first.weight.grad.view(3, 4, 5)[[0, 2]].any()


def test_experts_drop_what_they_say_in_training_only():
    experts, x = Experts(5, 40, (50,), dropout=0.5), torch.ones(1, 5)
    whole = experts.eval()(x)
    dropped = experts.train()(x)
    assert ((dropped == 0) & (whole > 0)).float().mean() > 0.1
    kept = dropped > 0
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


@pytest.mark.parametrize("hidden", [(), (6,)])
def test_a_gate_is_a_softmax_and_a_mixture_its_weighed_sum(hidden):
    network, x = gate(5, 3, hidden), torch.randn(7, 5)
    weights = network(x)
    np.testing.assert_allclose(weights.detach(), gate_of(network, x.numpy()), atol=1e-6)
    torch.testing.assert_close(weights.sum(1), torch.ones(7))
    experts = torch.randn(7, 3, 2)
    wanted = sum(weights[:, [e]] * experts[:, e] for e in range(3))
    torch.testing.assert_close(mixed(weights, experts), wanted)


CLICK = TaskFunnel.from_config({"click": {}})


@pytest.mark.parametrize(
    ("head", "fields", "message"),
    [
        (MMoE, {"experts": 0}, r"head.experts=0 must be >= 1"),
        (PLE, {"task_experts": 0}, r"head.task_experts=0 must be >= 1"),
        (PLE, {"shared_experts": -1}, r"head.shared_experts=-1 must be >= 1"),
        (MMoE, {"expert_hidden": ()}, r"head.expert_hidden=\[\] leaves an expert no layer"),
        (MMoE, {"expert_hidden": (8, 0)}, r"head.expert_hidden=\[8, 0\] must hold widths >= 1"),
        (MMoE, {"gate_hidden": (0,)}, r"head.gate_hidden=\[0\] must hold widths >= 1"),
        (MMoE, {"dropout": -0.1}, r"head.dropout=-0.1 must lie in \[0, 1\)"),
    ],
)
def test_sizes_that_cannot_be_are_refused(head, fields, message):
    with pytest.raises(ConfigError, match=message):
        head(5, CLICK, **fields)
