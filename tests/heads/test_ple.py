"""PLE and CGC against Tang et al. 2020."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import PLE
from heads.by_hand import experts_of, gate_of, mixture, tower_of

THREE = TaskFunnel.from_config({"a": {}, "b": {"given": ["a"]}, "c": {"given": ["a", "!b"]}})


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_ple_is_the_papers_equations(levels):
    head = PLE(5, THREE, levels, task_experts=2, shared_experts=3, expert_hidden=(6, 4), hidden=(3,))
    x = torch.randn(9, 5)
    output = head(dict.fromkeys(THREE.names, x))
    g = dict.fromkeys((*THREE.names, "shared"), x.numpy())
    for number, level in enumerate(head.levels, start=1):
        e = {k: experts_of(level.own[k], g[k]) for k in THREE.names} | {"shared": experts_of(level.shared, g["shared"])}
        w = {k: gate_of(level.gates[k], g[k]) for k in THREE.names}
        above = {k: mixture(w[k], np.concatenate([e[k], e["shared"]], axis=1)) for k in THREE.names}
        if number < levels:
            w["shared"] = gate_of(level.shared_gate, g["shared"])
            above["shared"] = mixture(w["shared"], np.concatenate(list(e.values()), axis=1))
        g = above
        for k in w:
            np.testing.assert_allclose(output.gates[f"level{number}/{k}"].detach(), w[k], atol=1e-6)
    assert len(output.gates) == 3 * levels + levels - 1
    for k in THREE.names:
        np.testing.assert_allclose(output.logits[k].detach(), tower_of(head.towers[k], g[k]), atol=1e-6)


def reached(head, task):
    """Modules by name that a loss on one task sends gradient into."""
    head(dict.fromkeys(THREE.names, torch.randn(50, 5))).logits[task].sum().backward()
    return {
        name.removesuffix(".first.weight").removesuffix(".0.0.weight").removesuffix(".1.weight")
        for name, p in head.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }


def test_one_level_keeps_a_tasks_experts_from_other_tasks():
    found = reached(PLE(5, THREE, levels=1), "b")
    assert {"levels.0.own.b", "levels.0.shared", "levels.0.gates.b"} <= found
    assert not {"levels.0.own.a", "levels.0.own.c", "levels.0.gates.a"} & found
    assert not any(name.startswith(("towers.a", "towers.c")) for name in found)


def test_with_two_levels_other_tasks_are_reached_through_the_lower_one_only():
    found = reached(PLE(5, THREE, levels=2), "b")
    assert {"levels.0.own.a", "levels.0.own.b", "levels.0.shared_gate", "levels.1.own.b", "levels.1.shared"} <= found
    assert not {"levels.1.own.a", "levels.1.own.c", "levels.0.gates.a", "levels.1.gates.c"} & found


def test_no_parameter_is_without_use():
    head = PLE(5, THREE, levels=3)
    output = head(dict.fromkeys(THREE.names, torch.randn(50, 5)))
    sum(logit.sum() for logit in output.logits.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


def test_shared_experts_read_what_is_shared_or_the_mean_of_what_is_not():
    head, own = PLE(5, THREE, levels=1), {name: torch.randn(4, 5) for name in THREE.names}
    read = []
    head.levels[0].shared.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    shared = torch.randn(4, 5)
    head(own | {"shared": shared})
    head(own)
    assert read[0] is shared
    torch.testing.assert_close(read[1], sum(own.values()) / 3)


@pytest.mark.parametrize("levels", [0, 4])
def test_levels_out_of_range_are_refused(levels):
    with pytest.raises(ConfigError, match=rf"head.levels={levels} must be 1 \(CGC\), 2 or 3"):
        PLE(5, THREE, levels)
