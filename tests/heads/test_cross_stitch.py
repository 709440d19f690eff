"""Cross-stitch units against Misra et al. 2016, eq. 1."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import CrossStitch, Single
from heads.by_hand import layers_of, tower_of

THREE = TaskFunnel.from_config({"a": {}, "b": {"given": ["a"]}, "c": {"given": ["a", "!b"]}})


def test_activations_are_combined_behind_each_layer():
    head, x = CrossStitch(5, THREE, hidden=(6, 4)), torch.randn(9, 5)
    for unit in head.units:
        unit.data.normal_()
    found = dict.fromkeys(THREE.names, x.numpy())
    for layer, unit in zip(head.layers, head.units, strict=True):
        alpha = unit.detach().numpy().reshape(3, 3)
        apart = [layers_of(layer[name], found[name]) for name in THREE.names]
        found = {name: sum(alpha[i, j] * apart[j] for j in range(3)) for i, name in enumerate(THREE.names)}
    output = head(dict.fromkeys(THREE.names, x))
    for name in THREE.names:
        np.testing.assert_allclose(output.logits[name].detach(), tower_of(head.towers[name], found[name]), atol=1e-6)


def test_units_of_identity_leave_separate_networks():
    stitched, single = CrossStitch(5, THREE, hidden=(6, 4), same=1.0), Single(5, THREE, hidden=(6, 4))
    for name, net in single.towers.items():
        for number, layer in enumerate(stitched.layers):
            net[0][3 * number].load_state_dict(layer[name][0].state_dict())
        net[1].load_state_dict(stitched.towers[name][1].state_dict())
    inputs = {name: torch.randn(9, 5) for name in THREE.names}
    for name in THREE.names:
        torch.testing.assert_close(stitched(inputs).logits[name], single(inputs).logits[name])


def test_units_start_near_their_own_network_and_take_no_weight_decay():
    wanted = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    for unit in CrossStitch(5, THREE, same=0.8).units:
        assert unit.ndim == 1
        torch.testing.assert_close(unit.view(3, 3).detach(), wanted)
    one = TaskFunnel.from_config({"a": {}})
    assert CrossStitch(5, one).units[0].tolist() == [1.0]


def test_a_tasks_loss_reaches_all_networks_but_no_other_tower():
    head = CrossStitch(5, THREE)
    head(dict.fromkeys(THREE.names, torch.randn(9, 5))).logits["b"].sum().backward()
    for name in THREE.names:
        assert head.layers[0][name][0].weight.grad.abs().sum() > 0
        assert (head.towers[name][1].weight.grad is None) == (name != "b")
    assert head.units[-1].grad.view(3, 3)[[0, 2]].abs().sum() == 0
    assert head.units[-1].grad.view(3, 3)[1].abs().min() > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden": ()}, r"head.hidden=\[\] leaves no layer to stitch; name widths, or use head=single"),
        ({"same": 1.5}, r"head.same=1.5 must lie in \[0, 1\]"),
    ],
)
def test_units_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        CrossStitch(5, THREE, **fields)
