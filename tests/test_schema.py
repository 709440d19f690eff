import math

import pytest
import torch

from funneltune.funnel import TaskFunnel
from funneltune.schema import Batch, HeadOutput, Texts, log1mexp, log_probabilities


def test_log1mexp_is_exact_at_both_ends_and_differentiable():
    log_p = torch.tensor([-1e-5, -0.5, -5.0, -40.0], requires_grad=True)
    found = log1mexp(log_p)
    wanted = [math.log(-math.expm1(x)) for x in (-1e-5, -0.5, -5.0)] + [-math.exp(-40.0)]
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-3, atol=1e-7)
    found.sum().backward()
    assert torch.isfinite(log_p.grad).all()
    edge = torch.zeros(1, requires_grad=True)
    log1mexp(edge).sum().backward()
    assert torch.isfinite(edge.grad).all()


def test_conditional_logits_multiply_along_the_way(funnel):
    output = HeadOutput(
        {"click": torch.tensor([0.0]), "purchase": torch.tensor([math.log(3.0)])},
        {"click": "conditional", "purchase": "conditional"},
    )
    p = log_probabilities(output, funnel)
    assert p.joint["purchase"].exp().item() == pytest.approx(0.5 * 0.75)
    assert p.conditional["purchase"].exp().item() == pytest.approx(0.75)


def test_marginal_logits_give_the_conditional_by_division(funnel):
    output = HeadOutput(
        {"click": torch.tensor([0.0, -2.0]), "purchase": torch.tensor([math.log(1 / 3), 1.0])},
        {"click": "conditional", "purchase": "marginal"},
    )
    p = log_probabilities(output, funnel)
    assert p.joint["purchase"].exp()[0].item() == pytest.approx(0.25)
    assert p.conditional["purchase"].exp()[0].item() == pytest.approx(0.5)
    assert p.conditional["purchase"][1].item() == 0.0  # p(purchase) above p(click): cut at one


def test_a_complement_edge_takes_one_minus_p():
    funnel = TaskFunnel.from_config({"cart": {}, "direct": {"given": ["!cart"]}})
    logits = {"cart": torch.tensor([math.log(1 / 3)]), "direct": torch.tensor([0.0])}
    p = log_probabilities(HeadOutput(logits, dict.fromkeys(logits, "conditional")), funnel)
    assert p.joint["direct"].exp().item() == pytest.approx(0.75 * 0.5)


def test_a_rare_event_does_not_underflow(funnel):
    logits = {"click": torch.tensor([-80.0]), "purchase": torch.tensor([-80.0])}
    p = log_probabilities(HeadOutput(logits, dict.fromkeys(logits, "conditional")), funnel)
    assert p.joint["purchase"].item() == pytest.approx(-160.0)


def test_a_batch_is_pinned_whole_and_then_copied_without_waiting(monkeypatch):
    pinned, waited = [], []

    def pin(tensor):
        pinned.append(tensor)
        return tensor.clone()

    def to(tensor, device, non_blocking):
        waited.append(not non_blocking)
        return tensor

    batch = Batch(
        texts=Texts(*(torch.arange(n) for n in (5, 2, 2))),
        text_of_row={"pair": torch.tensor([0, 1, 1])},
        labels={"click": torch.tensor([1.0, 0.0, 1.0])},
        observed={"click": torch.ones(3)},
        request=torch.tensor([0, 0, 1]),
        row=torch.arange(3),
    )
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    found = batch.pin_memory()
    assert len(pinned) == 8
    assert found.texts.token_ids.data_ptr() != batch.texts.token_ids.data_ptr()
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda _: True)
    monkeypatch.setattr(torch.Tensor, "to", to)
    found.to("cuda")
    assert waited == [False] * 8
