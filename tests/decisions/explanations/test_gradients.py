"""Integrated gradients on functions whose attributions are known."""

import sys

import numpy as np
import pytest
import torch

from funneltune.decisions.explanations.gradients import MOST_STEPS, integrate, on_its_scale, rates_of
from funneltune.decisions.explanations.inlets import Inlet
from funneltune.errors import ConfigError
from funneltune.schema import HeadOutput


class Known:
    """Inputs whose click logit is a function of two vectors, (K, 2, 1) and (K, 1, 1)."""

    def __init__(self, f):
        self.f = f
        value, nothing = torch.tensor([[[2.0], [-1.0]]]), torch.tensor([[[0.5], [0.0]]])
        more, less = torch.tensor([[[3.0]]]), torch.tensor([[[1.0]]])
        self.inlets = [Inlet("token", "", value, nothing), Inlet("number", "shared", more, less)]

    def forward(self, values):
        logit = self.f(values[0][:, 0, 0], values[0][:, 1, 0], values[1][:, 0, 0])
        return HeadOutput(
            {"click": logit, "purchase": logit - 1.0}, {"click": "conditional", "purchase": "conditional"}
        )


def test_of_a_linear_model_a_push_is_weight_times_way(funnel):
    found = integrate(Known(lambda a, b, c: 2.0 * a - 3.0 * b + 0.5 * c + 7.0), funnel, "ctr")
    np.testing.assert_allclose(found.parts[0], [2.0 * 1.5, -3.0 * -1.0], rtol=1e-5)
    np.testing.assert_allclose(found.parts[1], [0.5 * 2.0], rtol=1e-5)
    assert found.complete
    assert found.steps == 16
    assert found.value == pytest.approx(15.5)
    assert found.baseline == pytest.approx(8.5)


def test_of_a_product_both_take_their_share(funnel):
    """a c from (0.5, 1) to (2, 3): the integral of (1 + 2 t) 1.5 is 3, of (0.5 + 1.5 t) 2 is 2.5; 6 - 0.5 in all."""
    found = integrate(Known(lambda a, b, c: a * c), funnel, "ctr")
    np.testing.assert_allclose(found.parts[0], [3.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(found.parts[1], [2.5], atol=1e-5)


def test_an_input_that_the_rate_does_not_read_pushes_nothing(funnel):
    found = integrate(Known(lambda a, b, c: a), funnel, "ctr")
    np.testing.assert_allclose(found.parts[0], [1.5, 0.0], rtol=1e-5)
    assert found.parts[1].tolist() == [0.0]


def test_steps_double_until_the_pushes_add_up(funnel):
    found = integrate(Known(lambda a, b, c: 3.0 * torch.relu(a - 1.13)), funnel, "ctr")
    assert found.complete
    assert 16 < found.steps <= MOST_STEPS
    assert abs(found.gap) <= found.tolerance


def test_a_jump_that_no_gradient_sees_is_told_as_a_gap(funnel):
    found = integrate(Known(lambda a, b, c: a + (a > 1.0).float()), funnel, "ctr")
    assert not found.complete
    assert found.steps == MOST_STEPS
    assert found.gap == pytest.approx(-1.0, abs=1e-3)


def test_given_steps_are_taken_as_they_are(funnel):
    found = integrate(Known(lambda a, b, c: 30.0 * torch.relu(a - 1.13)), funnel, "ctr", steps=3)
    assert found.steps == 3
    assert not found.complete


def test_a_joint_rate_is_explained_by_its_log_probability(funnel):
    known = Known(lambda a, b, c: a + b + c)
    found = integrate(known, funnel, "ctcvr")
    x = torch.tensor(4.0)
    wanted = torch.nn.functional.logsigmoid(x) + torch.nn.functional.logsigmoid(x - 1.0)
    assert found.value == pytest.approx(wanted.item(), rel=1e-5)
    assert found.complete
    assert {rate: scale for rate, (_, scale) in rates_of(funnel).items()} == {
        "ctr": "logit",
        "cvr": "logit",
        "ctcvr": "log-probability",
    }


def test_a_conditional_rate_of_marginal_logits_is_explained_by_its_own_logit(funnel):
    output = HeadOutput(
        {"click": torch.tensor([0.0]), "purchase": torch.tensor([-2.0])}, {"click": "marginal", "purchase": "marginal"}
    )
    p = torch.sigmoid(torch.tensor(-2.0)) / 0.5
    assert on_its_scale(output, funnel, "cvr").item() == pytest.approx(torch.logit(p).item(), rel=1e-5)
    assert on_its_scale(output, funnel, "ctr").item() == 0.0


def test_without_captum_one_line_says_what_to_install(funnel, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigError, match=r"explain needs a package that is not installed: pip install 'funneltune\["):
        integrate(Known(lambda a, b, c: a), funnel, "ctr")
