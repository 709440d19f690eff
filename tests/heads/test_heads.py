import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import ESMM, SharedBottom, Single

HEADS = [Single, SharedBottom, ESMM]


@pytest.mark.parametrize("head", HEADS)
def test_one_conditional_logit_per_task_and_row(head):
    funnel = TaskFunnel.from_config({"a": {}, "b": {"given": ["a"]}, "c": {"given": ["a", "!b"]}})
    vectors = torch.randn(7, 5)
    output = head(5, funnel)(dict.fromkeys(funnel.names, vectors))
    assert {name: logit.shape for name, logit in output.logits.items()} == dict.fromkeys("abc", (7,))
    assert set(output.spaces.values()) == {"conditional"}


@pytest.mark.parametrize("head", HEADS)
def test_a_head_starts_near_one_half(head, funnel):
    output = head(16, funnel)(dict.fromkeys(funnel.names, torch.randn(50, 16)))
    for logit in output.logits.values():
        assert logit.abs().max() < 0.5


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
