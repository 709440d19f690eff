import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import AITM, ESM2, ESMM, PLE, STEM, CrossStitch, MMoE, OMoE, SharedBottom, Single
from funneltune.schema import log_probabilities, predictions

HEADS = [Single, SharedBottom, CrossStitch, OMoE, MMoE, PLE, ESMM, ESM2, AITM, STEM]
CHAIN = {"click": {}, "cart": {"given": ["click"]}, "order": {"given": ["cart"]}}
FUNNELS = {
    "two": {"click": {}, "purchase": {"given": ["click"]}},
    "chain": CHAIN,
    "branching": {"click": {}, "cart": {"given": ["click"]}, "purchase": {"given": ["click"]}, "like": {}},
    "complement": {
        "click": {},
        "cart": {"given": ["click"]},
        "purchase": {"given": ["click"]},
        "impulse": {"given": ["click", "!cart"]},
    },
    "five": {
        **CHAIN,
        "wish": {"given": ["cart"]},
        "stars": {"given": ["order"], "kind": "ordinal", "levels": [1, 2, 3]},
    },
    "kinds": {
        "click": {},
        "cart": {"given": ["click"]},
        "purchase": {"given": ["click"]},
        "need": {"kind": "multiclass", "levels": ["a", "b", "c"]},
        "spend": {"given": ["purchase"], "kind": "regression"},
    },
}
WITHOUT_ACTION = ("two", "chain")
"""Funnels that ESM2 refuses."""


def inputs_of(head, vectors):
    """What the module hands a head where all representations are one."""
    return dict.fromkeys((*head.funnel.names, *head.views), vectors)


def made(head, width, funnel):
    return head(width, TaskFunnel.from_config(FUNNELS[funnel]))


@pytest.mark.parametrize(
    ("head", "funnel"),
    [(head, name) for head in HEADS for name in FUNNELS if head is not ESM2 or name not in WITHOUT_ACTION],
)
def test_every_task_of_every_funnel_has_what_its_kind_needs(head, funnel):
    head = made(head, 5, funnel)
    output = head(inputs_of(head, torch.randn(7, 5)))
    for task in head.funnel.tasks:
        assert output.logits[task.name].shape == ((7, task.outputs) if task.has_levels else (7,))
        assert output.spaces[task.name] == (head.space if task.binary else "conditional")
    found = predictions(output, head.funnel)
    assert tuple(found) == head.funnel.predicted
    assert all(torch.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize("head", HEADS)
def test_a_head_starts_near_one_half(head):
    head = made(head, 16, "kinds")
    output = head(inputs_of(head, torch.randn(50, 16)))
    for logit in output.logits.values():
        assert logit.abs().max() < 0.5


@pytest.mark.parametrize("head", HEADS)
def test_gates_sum_to_one_row_by_row(head):
    head = made(head, 16, "branching")
    gates = head(inputs_of(head, torch.randn(50, 16))).gates
    assert bool(gates) == (type(head) in (OMoE, MMoE, PLE, AITM, STEM))
    for weights in gates.values():
        assert weights.ndim == 2
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(50))


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_learns_from_all_tasks_losses(head):
    head = made(head, 16, "complement")
    output = head(inputs_of(head, torch.randn(50, 16)))
    found = log_probabilities(output, head.funnel)
    (-sum(log_p.mean() for log_p in found.joint.values())).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())
    learning = sum(bool(p.grad.any()) for p in head.parameters())
    assert learning == len(list(head.parameters()))


@pytest.mark.parametrize("head", HEADS)
def test_heads_read_each_tasks_own_representation(head):
    head = made(head, 16, "branching")
    inputs = {view: torch.randn(9, 16, requires_grad=True) for view in (*head.funnel.names, *head.views)}
    head(inputs).logits["like"].sum().backward()
    assert inputs["like"].grad.abs().sum() > 0


def gradient_of(head, funnel, task):
    head.zero_grad()
    head(dict.fromkeys(funnel.names, torch.ones(3, 4))).logits[task].sum().backward()
    return {name for name, p in head.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_single_shares_nothing_and_shared_bottom_its_bottom(funnel):
    single = Single(4, funnel)
    assert not gradient_of(single, funnel, "click") & gradient_of(single, funnel, "purchase")
    shared = SharedBottom(4, funnel)
    both = gradient_of(shared, funnel, "click") & gradient_of(shared, funnel, "purchase")
    assert both
    assert all(name.startswith("bottom.") for name in both)


def test_the_shared_bottom_runs_once_where_tasks_share_their_input(funnel):
    head = SharedBottom(4, funnel)
    calls = []
    head.bottom.register_forward_hook(lambda *_: calls.append(1))
    head(dict.fromkeys(funnel.names, torch.ones(2, 4)))
    assert len(calls) == 1
    head({name: torch.ones(2, 4) for name in funnel.names})
    assert len(calls) == 3


@pytest.mark.parametrize(("field", "value"), [("hidden", (0,)), ("dropout", 1.0)])
def test_sizes_out_of_range_are_refused(funnel, field, value):
    with pytest.raises(ConfigError, match=f"head.{field}="):
        Single(4, funnel, **{field: value})
