"""ESM2 against Wen et al. 2020: a purchase by way of an action, or without it."""

import numpy as np
import pytest
import torch
from scipy.special import expit, logit

from funneltune.errors import ConfigError
from funneltune.funnel import TaskFunnel
from funneltune.heads import ESM2, ESMM
from funneltune.heads.esm2 import action_of, by_two_ways
from funneltune.schema import log_probabilities
from heads.by_hand import tower_of

CART = TaskFunnel.from_config({"click": {}, "cart": {"given": ["click"]}, "purchase": {"given": ["click"]}})


def test_post_click_cvr_is_the_sum_over_both_ways():
    head, x = ESM2(5, CART, hidden=(6,)), torch.randn(9, 5)
    output = head(dict.fromkeys(CART.names, x))
    y1, y2, y3 = (expit(tower_of(head.towers[name], x.numpy())) for name in ("click", "cart", "purchase"))
    y4 = expit(tower_of(head.without["purchase"], x.numpy()))
    cvr = y2 * y3 + (1 - y2) * y4
    np.testing.assert_allclose(output.logits["purchase"].detach(), logit(cvr), atol=1e-6)
    joint = {name: log_p.exp().detach() for name, log_p in log_probabilities(output, CART).joint.items()}
    np.testing.assert_allclose(joint["click"], y1, rtol=1e-5)
    np.testing.assert_allclose(joint["cart"], y1 * y2, rtol=1e-5)
    np.testing.assert_allclose(joint["purchase"], y1 * cvr, rtol=1e-5)


def test_the_mixture_is_exact_and_its_gradient_finite_in_both_tails():
    grid = torch.cartesian_prod(*(torch.tensor([-60.0, -20.0, -1.0, 0.0, 2.0, 20.0, 60.0]),) * 3).requires_grad_()
    found = by_two_ways(*grid.unbind(1))
    a, after, without = grid.detach().numpy().astype(np.longdouble).T

    def p(z):
        return 1 / (1 + np.exp(-z))

    happens = p(a) * p(after) + p(-a) * p(without)
    not_so = p(a) * p(-after) + p(-a) * p(-without)
    np.testing.assert_allclose(found.detach(), np.log(happens) - np.log(not_so), rtol=1e-5, atol=1e-5)
    found.sum().backward()
    assert torch.isfinite(grid.grad).all()


def test_ways_of_equal_towers_are_one_tower():
    head = ESM2(5, CART, hidden=(6,))
    head.without["purchase"].load_state_dict(head.towers["purchase"].state_dict())
    plain = ESMM(5, CART, hidden=(6,))
    plain.towers.load_state_dict(head.towers.state_dict())
    inputs = dict.fromkeys(CART.names, torch.randn(9, 5))
    for name in CART.names:
        torch.testing.assert_close(head(inputs).logits[name], plain(inputs).logits[name])


def test_a_purchases_loss_teaches_the_cart_too():
    head = ESM2(5, CART, hidden=(6,))
    output = head(dict.fromkeys(CART.names, torch.randn(9, 5)))
    output.logits["purchase"].sum().backward()
    reached = {name.rpartition(".0.0.")[0] for name, p in head.named_parameters() if p.grad is not None}
    assert {"towers.cart", "towers.purchase", "without.purchase"} <= reached
    assert "towers.click" not in reached


def test_an_action_is_the_latest_earlier_event_under_the_same_edges():
    funnel = TaskFunnel.from_config(
        {
            "click": {},
            "view": {},
            "wish": {"given": ["click", "view"]},
            "cart": {"given": ["view", "click"]},
            "stars": {"given": ["click", "view"], "kind": "ordinal", "levels": [1, 2]},
            "purchase": {"given": ["click", "view"]},
            "return": {"given": ["purchase"]},
        }
    )
    found = {task.name: action_of(task, funnel) for task in funnel.tasks}
    assert {name: action for name, action in found.items() if action} == {"cart": "wish", "purchase": "cart"}
    output = ESM2(5, funnel)(dict.fromkeys(funnel.names, torch.randn(4, 5)))
    assert output.logits["purchase"].shape == (4,)


def test_a_funnel_without_an_action_is_refused(funnel):
    with pytest.raises(ConfigError, match=r"head=esm2 finds no action .*\(tasks: click, purchase\).* use head=esmm"):
        ESM2(5, funnel)
