"""Uncertainty, DWA and GradNorm against their papers' equations in NumPy."""

import numpy as np
import pytest
import torch

from funneltune.errors import ConfigError
from funneltune.objectives import DWA, Fixed, GradNorm, Uncertainty
from pages import CART

LOSSES = {"click": 0.7, "cart": 0.2, "purchase": 0.05}


def terms(values=None):
    return {task: torch.tensor(float(loss), requires_grad=True) for task, loss in (values or LOSSES).items()}


def test_fixed_hands_the_very_terms_on():
    given = terms()
    assert Fixed(CART)(given) is given
    assert Fixed(CART).regulariser() is None
    assert Fixed(CART).weights() is None


def test_uncertainty_is_kendalls_loss_and_gradient():
    made = Uncertainty(CART)
    s, losses = np.array([0.3, -0.8, 1.1]), np.array(list(LOSSES.values()))
    made.log_variance.data = torch.tensor(s, dtype=torch.float32)
    given = terms()
    loss = torch.stack(list(made(given).values())).sum() + made.regulariser()
    variance = np.exp(s)
    assert loss.item() == pytest.approx((losses / variance + np.log(np.sqrt(variance))).sum(), rel=1e-6)
    loss.backward()
    np.testing.assert_allclose(made.log_variance.grad, -losses / variance + 0.5, rtol=1e-5)
    np.testing.assert_allclose([term.grad for term in given.values()], 1 / variance, rtol=1e-6)


def test_uncertainty_of_a_regression_is_a_gaussians_likelihood():
    """Half the squared error over the variance, plus the logarithm of the standard deviation."""
    made = Uncertainty(CART)
    made.log_variance.data.fill_(float(np.log(4.0)))
    error = 3.0
    loss = made({"click": torch.tensor(0.5 * error**2)})["click"] + made.regulariser() / 3
    gaussian = error**2 / (2 * 4.0) + np.log(2.0)
    assert loss.item() == pytest.approx(gaussian, rel=1e-6)


def test_uncertainty_begins_with_weights_of_one():
    torch.testing.assert_close(Uncertainty(CART).weights(), torch.ones(3))


def test_a_balancing_weighs_the_terms_that_there_are_by_name():
    made = Uncertainty(CART)
    made.log_variance.data = torch.tensor([0.0, 1.0, 2.0])
    found = made(terms({"purchase": 1.0, "click": 1.0}))
    assert {task: round(term.item(), 6) for task, term in found.items()} == {
        "purchase": round(float(np.exp(-2.0)), 6),
        "click": 1.0,
    }


def by_hand(last, before, temperature):
    ratio = np.asarray(last) / np.asarray(before)
    return len(ratio) * np.exp(ratio / temperature) / np.exp(ratio / temperature).sum()


def test_dwa_weighs_by_the_ratio_of_the_last_two_epochs_means():
    made = DWA(CART, temperature=2.0)
    epochs = [[[0.9, 0.5, 0.2], [0.7, 0.3, 0.2]], [[0.4, 0.3, 0.3], [0.4, 0.1, 0.1]], [[0.2, 0.2, 0.2]]]
    means = [np.mean(steps, axis=0) for steps in epochs]
    for number, steps in enumerate(epochs):
        made.begin_epoch(number)
        expected = by_hand(means[1], means[0], 2.0) if number == 2 else np.ones(3)
        for losses in steps:
            np.testing.assert_allclose(made.weights(), expected, rtol=1e-6)
            made.after_step(torch.tensor(losses), None)
    made.begin_epoch(3)
    np.testing.assert_allclose(made.weights(), by_hand(means[2], means[1], 2.0), rtol=1e-6)
    assert made.weights().sum().item() == pytest.approx(3)


def test_dwa_closes_an_epoch_once_though_it_is_gone_on_with():
    made, again = DWA(CART), DWA(CART)
    for epoch in range(3):
        made.begin_epoch(epoch)
        made.after_step(torch.tensor([1.0, 2.0, 3.0]) / (epoch + 1), None)
    again.load_state_dict(made.state_dict())
    again.begin_epoch(2)
    again.begin_epoch(3)
    made.begin_epoch(3)
    assert all(torch.equal(a, b) for a, b in zip(made.buffers(), again.buffers(), strict=True))
    assert int(made.periods) == 3


def test_dwa_can_count_steps_for_epochs():
    made = DWA(CART, every=2)
    for losses in ([1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [1.0, 1.0, 3.0], [0.0, 1.0, 1.0]):
        made.begin_epoch(0)
        made.after_step(torch.tensor(losses), None)
    np.testing.assert_allclose(made.weights(), by_hand([0.5, 1.0, 2.0], [2.0, 1.0, 1.0], 2.0), rtol=1e-6)


def test_dwa_takes_a_loss_that_was_zero_for_one_that_stands_still():
    made = DWA(CART, every=1)
    for losses in ([1.0, 1.0, 0.0], [1.0, 1.0, 5.0]):
        made.after_step(torch.tensor(losses), None)
    np.testing.assert_allclose(made.weights(), np.ones(3), rtol=1e-6)


def gradnorm_by_hand(weight, losses, initial, norms, alpha, rate):
    """Algorithm 1, the derivative of sum |G - target| taken numerically."""
    progress = losses / initial
    target = (weight * norms).mean() * (progress / progress.mean()) ** alpha

    def distance(w):
        return np.abs(w * norms - target).sum()

    slopes = np.array(
        [(distance(weight + h) - distance(weight - h)) / 2e-6 for h in 1e-6 * np.eye(len(weight))], dtype=float
    )
    weight = np.maximum(weight - rate * slopes, 0)
    return weight * len(weight) / weight.sum()


def test_gradnorm_takes_the_papers_step():
    made = GradNorm(CART, alpha=1.5, learning_rate=0.025)
    initial = np.array([0.7, 0.4, 0.1])
    weight = np.ones(3)
    steps = [(initial, [0.9, 0.3, 0.2]), (np.array([0.5, 0.35, 0.11]), [0.7, 0.6, 0.1]), (initial / 3, [1.0, 2.0, 4.0])]
    for losses, norms in steps:
        made.after_step(torch.tensor(losses), torch.tensor(norms))
        weight = gradnorm_by_hand(weight, losses, initial, np.array(norms), 1.5, 0.025)
        np.testing.assert_allclose(made.weights(), weight, rtol=1e-5)
    assert not np.allclose(weight, 1, atol=0.02)
    assert made.weights().sum().item() == pytest.approx(3)


def test_gradnorm_leaves_out_a_task_that_has_no_gradient_in_a_step():
    made = GradNorm(CART)
    made.after_step(torch.tensor([0.7, 0.0, 0.1]), torch.tensor([0.9, 0.0, 0.2]))
    np.testing.assert_allclose(made.initial, [0.7, 0.0, 0.1])
    two = gradnorm_by_hand(np.ones(2), np.ones(2), np.ones(2), np.array([0.9, 0.2]), 1.5, 0.025)
    np.testing.assert_allclose(made.weights(), [two[0], 1.0, two[1]], rtol=1e-5)  # they keep their sum of 2
    before = made.weights()
    made.after_step(torch.tensor([0.7, 0.0, 0.0]), torch.tensor([0.9, 0.0, 0.0]))
    assert torch.equal(made.weights(), before)  # one task alone has nothing to be balanced with


def test_gradnorm_weights_stop_at_zero_and_rise_again():
    made = GradNorm(CART, learning_rate=1.0)
    made.after_step(torch.ones(3), torch.tensor([9.0, 1.0, 1.0]))
    assert made.weights()[0] == 0
    made.after_step(torch.ones(3), torch.tensor([0.1, 0.5, 0.5]))
    assert made.weights()[0] > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DWA(CART, temperature=0.0), r"balancing.temperature=0.0 must be above 0 with balancing=dwa"),
        (lambda: DWA(CART, every=-1), r"balancing.every=-1 must be >= 0"),
        (lambda: GradNorm(CART, learning_rate=0.0), r"balancing.learning_rate=0.0 must be above 0"),
        (lambda: GradNorm(CART, alpha=-1.0), r"balancing.alpha=-1.0 must be >= 0 with balancing=gradnorm"),
        (lambda: Uncertainty(CART, learning_rate=-1.0), r"balancing.learning_rate=-1.0 must be above 0"),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
